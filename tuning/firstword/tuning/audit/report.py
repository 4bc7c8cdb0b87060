"""An audit's report as data: what callers heard, against the floor and objectives, two paths, opportunities, and what was not seen.

After `firstword.tuning.audit.opportunities`; `firstword.tuning.audit.page` and the command write it out. Pure but for lines of source.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

from firstword.telemetry.record import Outcome
from firstword.telemetry.vocabulary import OUTSIDE
from firstword.tuning.audit.facts import AgentFacts, AuditedSession, AuditRun, FirstVoice
from firstword.tuning.audit.opportunities import Opportunity, opportunities
from firstword.tuning.audit.played import observed_chain
from firstword.tuning.audit.rule import AuditedStart
from firstword.tuning.audit.statements import AgentSource
from firstword.tuning.objectives import Objective, ObjectiveResult, answer
from firstword.tuning.observation import Observation
from firstword.tuning.source_text import SourceText
from firstword.tuning.start import Method, RecordedStart, Stretch
from firstword.tuning.statistics import quantile, sample
from firstword.tuning.wording import agree, amount

ENOUGH = 10
"""Number of sessions below which p90 is just the slowest session."""
_MUCH_OUTSIDE = 0.15
_NO_START: dict[str, object] = {
    **dict.fromkeys(("trace_id", "root_span_id", "began", "ttfw_s", "duration_us", "method")),
    "path": [],
}
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class HeardTimes:
    """Quantiles of the seconds until callers heard something, by nearest rank; infinite where that many callers heard nothing."""

    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float | None]) -> HeardTimes | None:
        """Returns the quantiles of these seconds, one for each caller, None for a caller who heard nothing. Returns None for no caller."""
        if not seconds:
            return None
        heard = sample([math.inf if each is None else each for each in seconds])
        return cls(*(quantile(heard, share) for share in _SHARES.values()))

    def as_json(self) -> dict[str, float | None]:
        """Returns quantile name -> seconds, as in `rehearse --json`; None stands for never."""
        return {name: value if math.isfinite(value := getattr(self, name)) else None for name in _SHARES}


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Everything that an audit reports: what callers heard, the floor, objectives, two paths, opportunities, and what it could not see."""

    agent: AgentFacts
    first_voice: FirstVoice
    sessions: int
    silences: tuple[tuple[str, int], ...]
    """Each reason why callers heard nothing, and how many callers it applies to."""
    heard: HeardTimes | None
    floor: HeardTimes | None
    objectives: tuple[ObjectiveResult, ...]
    median: RecordedStart | None
    """The start of the session in the middle, the faster of two; None where no start was traced."""
    slowest: RecordedStart | None
    observed: int
    """How many starts had an observed path: the rules look at these."""
    opportunities: tuple[Opportunity, ...]
    unseen: tuple[str, ...]
    """What the audit could not see, or what its figures do not say, one sentence each."""
    source: SourceText

    @property
    def unheard(self) -> int:
        """Returns how many callers heard nothing."""
        return sum(count for _, count in self.silences)

    @property
    def nothing_found(self) -> str:
        """Returns the words that say why there is no opportunity, for where there is none."""
        return "nothing that the rules look for was on the path" if self.observed else "no start was observed"

    @property
    def missed(self) -> bool:
        """Returns whether at least one objective is missed."""
        return not all(result.met for result in self.objectives)

    def times_the_floor(self, name: str) -> float | None:
        """Returns a quantile, `p50` or another of `HeardTimes`, as a multiple of the floor's.

        Returns None where either is unknown or infinite. Returns None for an agent that answers, too: the floor counts
        from the caller's joining.
        """
        if self.heard is None or self.floor is None or self.first_voice is FirstVoice.ANSWERS:
            return None
        heard, floor = getattr(self.heard, name), getattr(self.floor, name)
        return heard / floor if math.isfinite(heard) and math.isfinite(floor) and floor > 0 else None

    def as_json(self) -> dict[str, object]:
        """Returns the data of `audit --json` under its stable keys (docs/opportunities.md).

        The keys of `critical-chain --json` are among them, for the median session.
        """
        agent = self.agent
        return {
            **(_NO_START if self.median is None else self.median.as_json()),
            "agent": {
                "file": agent.file.name,
                "agent_name": agent.agent_name,
                "dispatch": agent.dispatch.value,
                "python": agent.python,
                "livekit": agent.livekit,
                "simulated": list(agent.simulated),
                "real": list(agent.real),
                "not_simulated": dict(agent.not_simulated),
            },
            "first_voice": self.first_voice.value,
            "sessions": self.sessions,
            "unheard": self.unheard,
            "heard_s": None if self.heard is None else self.heard.as_json(),
            "floor_s": None if self.floor is None else self.floor.as_json(),
            "times_the_floor": {name: self.times_the_floor(name) for name in ("p50", "p90")},
            "objectives": [
                {
                    "objective": result.objective.text,
                    "met": result.met,
                    "sure": result.sure,
                    "value": result.value if math.isfinite(result.value) else None,
                }
                for result in self.objectives
            ],
            "opportunities": [each.as_json() for each in self.opportunities],
            "slowest": None if self.slowest is None else self.slowest.as_json(),
            "unseen": list(self.unseen),
        }


def audit_report(run: AuditRun, objectives: Sequence[Objective] = ()) -> AuditReport:
    """Makes the report of an audit's run, with an answer to each objective. Raises ObjectiveError for an objective that
    no audit can answer."""
    voice = _first_voice(run.sessions)
    # who answers is counted otherwise than who greets: no figure is of both
    sessions = [each for each in run.sessions if each.heard_s is None or each.first_voice is voice]
    floor = HeardTimes.of(run.floor_s)
    text = SourceText(run.agent.file.parent)
    seen = [(each.heard_s, _waited_for(each)) for each in sessions if each.heard_s is not None]
    starts = sorted(((heard, start) for heard, start in seen if start is not None), key=itemgetter(0))
    source = AgentSource(text, run.agent.file.name)
    floor_s = None if floor is None or not math.isfinite(floor.p50) else floor.p50
    looked_at = [
        AuditedStart(chain, voice, run.agent, heard, floor_s)
        for heard, start in starts
        if (chain := observed_chain(start, source)) is not None
    ]
    observations = list(_observations(sessions))
    return AuditReport(
        agent=run.agent,
        first_voice=voice,
        sessions=len(sessions),
        silences=tuple(
            Counter(each.silence or "nothing was heard" for each in sessions if each.heard_s is None).items()
        ),
        heard=HeardTimes.of([each.heard_s for each in sessions]),
        floor=floor,
        objectives=tuple(answer(objective, observations) for objective in objectives),
        median=starts[(len(starts) - 1) // 2][1] if starts else None,
        slowest=starts[-1][1] if starts else None,
        observed=len(looked_at),
        opportunities=opportunities(looked_at) if looked_at else (),
        unseen=tuple(_unseen(run, voice, [start for _, start in starts])),
        source=text,
    )


def _first_voice(sessions: Sequence[AuditedSession]) -> FirstVoice:
    """Of most sessions in which something was heard."""
    voices = Counter(each.first_voice for each in sessions if each.heard_s is not None)
    return max(FirstVoice, key=lambda voice: voices[voice])


def _waited_for(session: AuditedSession) -> RecordedStart | None:
    """The start, from when the caller could expect to hear something."""
    if session.start is None or session.first_voice is FirstVoice.GREETS or session.heard_s is None:
        return session.start
    return _from(session.start, max(session.start.duration_us - round(session.heard_s * 1e6), 0))


def _from(start: RecordedStart, begin_us: int) -> RecordedStart:
    """What of a start came after an instant, µs from its begin, as a start of its own."""
    path = [
        replace(piece, start_us=max(piece.start_us - begin_us, 0), duration_us=min(piece.duration_us, end - begin_us))
        for piece in start.path
        if (end := piece.start_us + piece.duration_us) > begin_us
    ]
    phases = [
        Stretch(phase.name, max(phase.start_us - begin_us, 0), min(phase.duration_us, end - begin_us))
        for phase in start.phases
        if (end := phase.start_us + phase.duration_us) > begin_us
    ]
    waited = start.duration_us - begin_us
    return replace(
        start,
        start_ns=start.start_ns + begin_us * 1000,
        duration_us=waited,
        ttfw_s=waited / 1e6,
        path=tuple(path),
        phases=tuple(phases),
    )


def _observations(sessions: Sequence[AuditedSession]) -> Iterator[Observation]:
    """The sessions as `--slo` counts them: what was never heard is infinitely late. Without a trace a TTFW is what was heard."""
    for each in sessions:
        if each.heard_s is None:
            yield Observation(Outcome.FAILED, math.inf, heard=math.inf)
        else:
            start = _waited_for(each)
            ttfw = None if start is None else start.ttfw_s
            yield Observation(Outcome.FIRST_WORD, each.heard_s if ttfw is None else ttfw, heard=each.heard_s)


def _unseen(run: AuditRun, voice: FirstVoice, starts: Sequence[RecordedStart]) -> Iterator[str]:
    agent = run.agent
    if agent.simulated:
        yield f"Simulated: {', '.join(agent.simulated)}. Their times are the simulators', not your providers'."
    if agent.real:
        yield f"Real: {', '.join(agent.real)}. They were called with the agent's own keys."
    for provider, advice in agent.not_simulated.items():
        yield f"Not simulated: {provider}. {advice}"
    yield from agent.unseen
    heard = [each for each in run.sessions if each.heard_s is not None]
    if 0 < len(run.sessions) < ENOUGH:
        yield f"p90 of {amount(len(run.sessions), 'session')} is the slowest of them; --sessions {ENOUGH} or more say how often that is."
    if others := sum(each.first_voice is not voice for each in heard):
        did = "answered" if voice is FirstVoice.GREETS else "greeted"
        yield f"{others} of {amount(len(heard), 'session')} {did} where the others did not; {agree(others, 'it is', 'they are')} in no figure."
    if untraced := sum(each.start is None for each in heard):
        yield f"{untraced} of {amount(len(heard), 'session')} left no trace of the start; the figures have {agree(untraced, 'it', 'them')}, the paths do not."
    for why, count in Counter(start.unobserved for start in starts if start.unobserved).items():
        yield f"{amount(count, 'start')} could not be observed: {why}. The path is guessed from times there."
    shares = sorted(map(_outside, [start for start in starts if start.method is Method.OBSERVED]))
    if shares and (share := shares[len(shares) // 2]) > _MUCH_OUTSIDE:
        yield f"{share:.0%} of the median path is outside of the event loop: native code, other threads, the room."
    if voice is FirstVoice.ANSWERS:
        yield (
            "The agent did not speak first, so the caller did. Seconds and paths begin at the end of their speech; "
            "the floor's begin at their joining, so nothing is given as a multiple of it."
        )


def _outside(start: RecordedStart) -> float:
    outside = sum(piece.duration_us for piece in start.path if piece.kind == OUTSIDE)
    return outside / start.duration_us if start.duration_us else 0.0


def shown_file(file: Path) -> str:
    """Returns the agent's file as `FOLDER/NAME`, so that a report shows nothing else of the machine."""
    return f"{file.parent.name}/{file.name}" if file.parent.name else file.name
