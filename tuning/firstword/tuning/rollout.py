"""What to do with each flag next, and why: start, ramp, hold, turn back. Decides; `firstword tune` writes it down.

Between `firstword.tuning.compare` and `firstword tune`. Pure: the same sessions and shares give the same answer.

One flag moves at a time, and only sessions since the last move of any flag count. So each comparison is of one configuration. Two flags
that hurt each other meet only when one of them is through, and then the second one shows it. A flag is ramped from its first share when
it is surely not much worse, and past `Ladder.probed` only when it is surely faster. Each time new sessions decide. It is turned back as
soon as it is surely worse, and when it surely brings too little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from firstword.tuning.compare import SAME, Comparison, NotComparable, Verdict, compare, gain, in_words, sentence
from firstword.tuning.observation import Observation
from firstword.tuning.wording import agree, amount

ENOUGH = 50
"""Number of sessions with the flag on before it is ramped, and of all sessions before any flag is started."""
PATIENCE = 20_000
"""Number of sessions after which a flag that shows no gain is turned back."""
SETTLING = 10.0
"""Seconds after a move in which workers may not have heard of it. Sessions that begin in them don't count."""

_MUCH_SLOWER = 0.25
_MANY_MORE_AT_FIRST, _MANY_MORE = 0.15, 0.05
"""How many more errors, or callers who leave, must be ruled out: for a share up to `Ladder.probed`, and past it."""
_MOST_SHARES = 10


@dataclass(frozen=True, slots=True)
class Ladder:
    """The shares that a flag goes through, in percent of the sessions."""

    shares: tuple[int, ...] = (5, 25, 50, 100)

    def __post_init__(self) -> None:
        """Raises ValueError for shares that don't grow to 100."""
        grows = list(self.shares) == sorted(set(self.shares))
        if not (grows and 2 <= len(self.shares) <= _MOST_SHARES and self.shares[0] > 0 and self.shares[-1] == 100):
            raise ValueError(f"expected two to {_MOST_SHARES} whole numbers that grow, and end with 100")

    @property
    def start(self) -> int:
        """Returns the share that a flag gets first."""
        return self.shares[0]

    @property
    def probed(self) -> int:
        """Returns the share up to which a flag is ramped without being surely faster."""
        return self.shares[1] if self.shares[1] < 100 else self.start

    def after(self, percent: int) -> int:
        """Returns the next share after one that is below 100."""
        return next(share for share in self.shares if share > percent)

    def many_more(self, to: int) -> float:
        """Returns which share of more errors, or callers who leave, must be ruled out before a flag goes to `to`."""
        return _MANY_MORE_AT_FIRST if to <= self.probed else _MANY_MORE


LADDER = Ladder()


class Action(StrEnum):
    """What to do with a flag: start, ramp or hold it, turn it back, or leave it alone."""

    START = "start"
    RAMP = "ramp"
    HOLD = "hold"
    TURN_BACK = "turn back"
    WAIT = "wait"
    """The flag's turn comes when the flag that moves now is settled."""
    DONE = "done"
    LEFT = "left alone"
    """The flag was turned back before, is predicted to bring nothing, or has no share to move."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The state of one flag's rollout, as the flag file has it."""

    flag: str
    percent: int
    """Percent of the sessions that get `on`."""
    since: float = 0.0
    """When the share last moved, in seconds since the Unix epoch; 0 where nobody knows."""
    turned_back: str | None = None
    """Why it was turned back; None where it was not."""
    by_process: bool = False
    """Whether it is drawn when a process starts: idle processes keep the old share for a while."""
    fixed: str | None = None
    """Why it is not ours to move, such as a rule that somebody wrote; None where it is a plain share of `on` and `off`."""


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """What to do with one flag, and why."""

    flag: str
    action: Action
    percent: int
    """The flag's share now."""
    to: int
    """The flag's share after the step."""
    reason: str
    predicted: float | None = None
    """Seconds of the time to first word that it should save, if anybody predicted it."""
    comparison: Comparison | None = None

    @property
    def moves(self) -> bool:
        """Returns whether the step changes the flag's share."""
        return self.to != self.percent

    @property
    def saves(self) -> float | None:
        """Returns the seconds of the median time to first word that the flag saves.

        As measured, else as predicted; None where neither is known.
        """
        if self.comparison is not None:
            p50 = self.comparison.ttfw[0]
            if math.isfinite(p50.before - p50.after):
                return p50.before - p50.after
        return self.predicted


def plan(
    observations: Sequence[Observation],
    rollouts: Sequence[Rollout],
    predicted: Mapping[str, float] | None = None,
    *,
    doubt: str | None = None,
    ladder: Ladder = LADDER,
) -> tuple[RolloutStep, ...]:
    """Decides what to do with each flag. Returns one step a flag, the most urgent first: at most one of them `moves`.

    observations: all that is known; those before the last move, or just after it, are not used.
    predicted: flag -> seconds it should save; decides the order until the gain is measured.
    doubt: why the sessions can't be trusted; None where they can. With a doubt nothing is started or ramped; what is
    surely worse is turned back all the same.
    """
    predicted = predicted or {}
    moved = max((rollout.since for rollout in rollouts), default=0.0)
    recent = [o for o in observations if not moved or o.time >= moved + SETTLING]
    promised = [(rollout, predicted.get(rollout.flag)) for rollout in rollouts]
    steps = [
        _moving(recent, rollout, promise, ladder, reliable=doubt is None)
        for rollout, promise in promised
        if _is_moving(rollout)
    ]
    steps += [_resting(recent, rollout, promise, ladder) for rollout, promise in promised if not _is_moving(rollout)]
    ranked = sorted(steps, key=_rank)
    if doubt is not None:
        ranked = [_held(step, doubt) for step in ranked]
    return (ranked[0], *(_waits(step, ranked[0]) for step in ranked[1:])) if ranked else ()


def _is_moving(rollout: Rollout) -> bool:
    return 0 < rollout.percent < 100 and rollout.fixed is None


def _rank(step: RolloutStep) -> tuple[int, int, float, int, str]:
    """Harm comes first, that of most sessions before others. Then comes what saves most; of equals, what is furthest on. What nobody knows
    comes last."""
    order = [Action.TURN_BACK, Action.RAMP, Action.HOLD, Action.START, Action.WAIT, Action.DONE, Action.LEFT]
    exposed = step.percent if step.action is Action.TURN_BACK else 0
    saves = -math.inf if step.saves is None else step.saves
    return (order.index(step.action), -exposed, -saves, -step.percent, step.flag)


def _waits(step: RolloutStep, first: RolloutStep) -> RolloutStep:
    """One flag at a time: the others wait for the first."""
    if not step.moves or not (first.moves or first.action is Action.HOLD):
        return step
    return RolloutStep(
        step.flag,
        Action.WAIT,
        step.percent,
        step.percent,
        f"one flag at a time: {first.flag} goes first",
        step.predicted,
        step.comparison,
    )


def _held(step: RolloutStep, reason: str) -> RolloutStep:
    if not step.moves or step.action is Action.TURN_BACK:
        return step
    return RolloutStep(step.flag, Action.HOLD, step.percent, step.percent, reason, step.predicted, step.comparison)


def _resting(recent: Sequence[Observation], rollout: Rollout, gain: float | None, ladder: Ladder) -> RolloutStep:
    def step(action: Action, reason: str, to: int = rollout.percent) -> RolloutStep:
        return RolloutStep(rollout.flag, action, rollout.percent, to, reason, gain)

    if rollout.fixed is not None:
        return step(Action.LEFT, rollout.fixed)
    if rollout.percent == 100:
        return step(Action.DONE, "on for all sessions")
    if rollout.turned_back is not None:
        return step(Action.LEFT, f"turned back before: {rollout.turned_back}")
    if gain is not None and gain <= 0:
        return step(Action.LEFT, "predicted to bring nothing")
    known = sum(rollout.flag in o.flags for o in recent)
    if known < ENOUGH:
        return step(
            Action.WAIT,
            f"{amount(known, 'session')} since the last move {agree(known, 'knows', 'know')} it; {ENOUGH} are enough to start",
        )
    promise = "nothing is predicted of it" if gain is None else f"predicted to save {gain:.2f} s"
    return step(Action.START, promise, ladder.start)


def _moving(
    recent: Sequence[Observation], rollout: Rollout, predicted: float | None, ladder: Ladder, *, reliable: bool
) -> RolloutStep:
    percent = rollout.percent
    to = ladder.after(percent)

    def step(action: Action, reason: str, to: int = percent, comparison: Comparison | None = None) -> RolloutStep:
        return RolloutStep(rollout.flag, action, percent, to, reason, predicted, comparison)

    try:
        found = compare(recent, rollout.flag, share=None if rollout.by_process else percent / 100)
    except NotComparable as nothing:
        return step(Action.HOLD, f"{nothing} since the last move")
    harm = _harm(found)
    if harm:
        exposed = found.sessions[found.after]
        return step(Action.TURN_BACK, f"{harm}; {amount(exposed, 'session')} met it since the last move", 0, found)
    if found.verdict is Verdict.DEPENDENT:
        return step(Action.HOLD, sentence(found), comparison=found)
    if found.split is not None and found.split.mismatch:
        return step(Action.HOLD, _split_reason(found), comparison=found)
    if found.together_with:
        others = ", ".join(found.together_with)
        return step(Action.HOLD, f"can't be told apart from {others}", comparison=found)
    if found.units[found.after] < ENOUGH:
        few = f"{found.units[found.after]} of {ENOUGH} {found.drawn}s with it on"
        return step(Action.HOLD, f"not enough yet: {few}", comparison=found)
    doubt = _doubt(found, to, ladder)
    if doubt is None:
        why = "it is surely faster" if to > ladder.probed else "it is surely not much worse"
        return step(Action.RAMP, f"{why}: {gain(found)}", to, found)
    useless = _useless(found) if percent >= ladder.probed and reliable else None
    if useless:
        return step(Action.TURN_BACK, useless, 0, found)
    return step(Action.HOLD, doubt, comparison=found)


def _harm(found: Comparison) -> str | None:
    """What is surely worse with it on."""
    if found.split is not None and found.split.mismatch and found.split.seen < found.split.share:
        return f"sessions with it on get lost: {_split_reason(found)}"
    for row, what in ((found.errors, "errors"), (found.abandoned, "callers who left")):
        if row.difference.low > 0:
            return f"more {what}: {100 * row.after:.1f} % against {100 * row.before:.1f} %"
    for row in (found.ttfw[1], found.ttfw[0]):
        # p90 decides; a later p50 is harm too unless p90 surely gains
        if row.difference.low > 0 and (row.name == "p90" or found.verdict is not Verdict.MIXED):
            return in_words(row)
    return None


def _split_reason(found: Comparison) -> str:
    split = found.split
    return f"{100 * split.seen:.1f} % have it on where {100 * split.share:.0f} % should" if split else ""


def _doubt(found: Comparison, to: int, ladder: Ladder) -> str | None:
    """Why not to go on to `to` percent; None where nothing speaks against it."""
    many_more = ladder.many_more(to)
    for row, what in ((found.errors, "errors"), (found.abandoned, "callers who leave")):
        if row.difference.high > many_more:
            return f"{100 * many_more:.0f} % more {what} aren't ruled out yet"
    if to > ladder.probed:
        more = "" if found.more is None else f"; about {found.more} more sessions may tell"
        return None if found.verdict is Verdict.FASTER else f"not surely faster yet: {gain(found)}{more}"
    if not found.ttfw[0].loses_less_than(_MUCH_SLOWER):
        return f"a p50 {100 * _MUCH_SLOWER:.0f} % later isn't ruled out yet"
    return None


def _useless(found: Comparison) -> str | None:
    """Why it is not worth going on; None where it may be."""
    if all(row.gains_less_than(SAME) for row in found.ttfw[:2]):
        return f"it gains less than {100 * SAME:.0f} %: {gain(found)}"
    if sum(found.sessions.values()) >= PATIENCE:
        return f"no gain in {amount(sum(found.sessions.values()), 'session')}: {gain(found)}"
    return None
