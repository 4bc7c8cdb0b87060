"""What of a start counts in statistics: one `Observation` a start, and the samples that are made of many.

It stands between `firstword.tuning.spans` and all that compares, decides, checks or saves. Here alone it is decided which start is
infinitely late, which is censored, which is left out, and what each weighs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import TypeAlias

from firstword.telemetry import vocabulary as words
from firstword.telemetry.record import Outcome
from firstword.tuning.sampling import Sampling, sampling_of
from firstword.tuning.shared import Times, variants, word
from firstword.tuning.spans import Trace
from firstword.tuning.start import Method, start_of
from firstword.tuning.statistics import Sample, sample

_ERRORS = (Outcome.FAILED, Outcome.TIMED_OUT)
_PROCESS = ("service.instance.id", "process.pid")


class DrawnBy(StrEnum):
    """What a flag's variant is drawn for: all sessions of a process, all of an account, or each session."""

    PROCESS = "process"
    ACCOUNT = "account"
    SESSION = "session"


_DRAWN_BY: Mapping[object, DrawnBy] = {"account": DrawnBy.ACCOUNT, "room": DrawnBy.SESSION}


@dataclass(frozen=True, slots=True)
class Observation:
    """What counts in statistics of one start in which a caller was there."""

    outcome: Outcome
    """How the start ended; never `no_caller`."""
    ttfw: float
    """Seconds the caller waited: for the first word, or until they left; infinite after an error."""
    init: float | None = None
    """Seconds until the session could hold a conversation; None where it is unknown."""
    time: float = 0.0
    """When the start began, in seconds since the Unix epoch."""
    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    """Flag name -> variant."""
    tasks: Mapping[str, float] = field(default_factory=dict[str, float])
    """Task name -> seconds it took."""
    fallbacks: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    process: str | None = None
    account: str | None = None
    """Keyed hash of the account; None where the trace has none."""
    drawn_by: DrawnBy | None = None
    """What its flags were drawn for, as its trace says; None where it doesn't."""
    by_process: str = ""
    """Names of the flags that were drawn by process instead, with commas."""
    method: Method = Method.EXACT
    heard: float | None = None
    """Seconds until the caller heard something, infinite where they never did; None where only a trace tells of the start."""

    @property
    def error(self) -> bool:
        """Returns whether the start failed or timed out."""
        return self.outcome in _ERRORS

    @property
    def abandoned(self) -> bool:
        """Returns whether the caller left before the first word."""
        return self.outcome is Outcome.ABANDONED


def observation(trace: Trace) -> Observation | None:
    """Returns the observation of a trace; None where it is no start of ours, nobody called, or it does not say how it ended."""
    told = trace.root.attributes
    start = start_of(trace)
    try:
        outcome = Outcome(start.outcome or "")
    except ValueError:
        return None
    if not trace.is_start or outcome is Outcome.NO_CALLER:
        return None
    absent_us = sum(piece.duration_us for piece in start.path if piece.name == words.ABSENT_CALLER)
    waited = (start.duration_us - absent_us) / 1e6
    if outcome is Outcome.FIRST_WORD:
        waited = waited if start.ttfw_s is None else start.ttfw_s
    fallbacks = told.get(words.FALLBACKS)
    account = told.get(words.ACCOUNT_HASH)
    process = next((str(where[key]) for where in (trace.root.resource, told) for key in _PROCESS if key in where), None)
    return Observation(
        outcome=outcome,
        ttfw=math.inf if outcome in _ERRORS else waited,
        init=start.init_s,
        time=start.start_ns / 1e9,
        flags=variants(start.flags),
        # by name: the order in which they began would be another for each start
        tasks=Times({task.name: task.duration_us / 1e6 for task in sorted(start.tasks, key=attrgetter("name"))}),
        fallbacks=fallbacks if isinstance(fallbacks, int) else 0,
        sampling=sampling_of(trace),
        process=None if process is None else word(process),
        account=account if isinstance(account, str) else None,
        drawn_by=_DRAWN_BY.get(told.get(words.FLAGS_BY)),
        by_process=word(str(told.get(words.FLAGS_BY_PROCESS, ""))),
        method=start.method,
    )


Of: TypeAlias = Sequence[Observation]


def ttfw(of: Of, drawn: DrawnBy = DrawnBy.SESSION) -> Sample:
    """Returns the sample of the times to first word. An error is infinitely late, and a caller who left is censored."""
    return _sample(of, drawn, [o.ttfw for o in of], [o.abandoned for o in of])


def init(of: Of, drawn: DrawnBy = DrawnBy.SESSION) -> Sample:
    """Returns the sample of the initialization times. An error is infinite; a session that ended before it was ready is censored at 0."""
    values = [math.inf if o.error else (o.init or 0.0) for o in of]
    return _sample(of, drawn, values, [o.init is None and not o.error for o in of])


def heard(of: Of) -> Sample:
    """Returns the sample of the seconds until callers heard something, of the starts in which that was measured."""
    measured = [(o, o.heard) for o in of if o.heard is not None]
    return _sample([o for o, _ in measured], DrawnBy.SESSION, [seconds for _, seconds in measured])


def task(of: Of, name: str) -> Sample:
    """Returns the sample of a task's durations, of the starts that have the task."""
    having = [o for o in of if name in o.tasks]
    return _sample(having, DrawnBy.SESSION, [o.tasks[name] for o in having])


def share(of: Of, which: Callable[[Observation], bool], drawn: DrawnBy = DrawnBy.SESSION) -> Sample:
    """Returns a sample with 1 for the starts of which `which` is true, 0 for the others: its rate is their share."""
    return _sample(of, drawn, [float(which(o)) for o in of])


def failed(o: Observation) -> bool:
    """Returns whether a start is an error. A `which` for `share`."""
    return o.error


def left(o: Observation) -> bool:
    """Returns whether the caller left before the first word. A `which` for `share`."""
    return o.abandoned


def fell_back(o: Observation) -> bool:
    """Returns whether a task used its fallback in a start. A `which` for `share`."""
    return o.fallbacks > 0


def task_names(of: Iterable[Observation]) -> list[str]:
    """Returns the names of all tasks of these starts, sorted."""
    return sorted({name for o in of for name in o.tasks})


def recorded(o: Observation, flag: str) -> DrawnBy | None:
    """Returns what the start's trace says a flag was drawn for (session, process or account); None where it doesn't say."""
    return DrawnBy.PROCESS if flag in o.by_process.split(",") else o.drawn_by


def unnamed(o: Observation, flag: str) -> bool:
    """Returns whether a flag was drawn by account, and the start's trace does not say by which."""
    return recorded(o, flag) is DrawnBy.ACCOUNT and o.account is None


def drawn_by(of: Of, flag: str) -> DrawnBy:
    """Returns what a flag was drawn for: by what the starts say, of several kinds the one whose sessions depend most on
    each other.

    Where some starts don't say it, their variants decide. It is by process if several processes had more than one
    session and none had two variants. Else it is by account likewise, else by session. LiveKit's default, one job a
    process, makes the first two moot.
    """
    said = {recorded(o, flag) for o in of if flag in o.flags}
    if said and None not in said:
        return next(drawn for drawn in DrawnBy if drawn in said)
    for drawn in (DrawnBy.PROCESS, DrawnBy.ACCOUNT):
        variants: dict[str, list[str]] = {}
        for o in of:
            if flag in o.flags and (key := _key(o, drawn)) is not None:
                variants.setdefault(key, []).append(o.flags[flag])
        repeated = [seen for seen in variants.values() if len(seen) > 1]
        if len(repeated) > 1 and all(len(set(seen)) == 1 for seen in repeated):
            return drawn
    return DrawnBy.SESSION


def _sample(of: Of, drawn: DrawnBy, values: Sequence[float], censored: Sequence[bool] | None = None) -> Sample:
    weights = [o.sampling.weight for o in of]
    heaviest = max((o.sampling.heaviest for o in of), default=1.0)
    # a session without the key stands alone
    groups = None if drawn is DrawnBy.SESSION else [_key(o, drawn) or index for index, o in enumerate(of)]
    return sample(values, censored=censored, weights=weights, heaviest=heaviest, groups=groups)


def _key(o: Observation, drawn: DrawnBy) -> str | None:
    return o.process if drawn is DrawnBy.PROCESS else o.account
