"""Changes to tasks for what-if questions: reads TASK=CHANGE, as people type it and as a flag's metadata has it.

Before `firstword.tuning.replay`, which plays a start with it. A flag says in its `predicts` (flagd's metadata) what it
changes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

EXPECTED = "0.5 (times as long), -80ms, gone, earlier, before-job, deferred"


class Effect(StrEnum):
    """How a change affects a task: its work is scaled or shifted, or the task is gone, earlier, done before the job, or
    deferred.
    """

    SCALED = "scaled"
    """The task's work takes so many times as long."""
    SHIFTED = "shifted"
    """The task's work takes so much longer, or shorter, down to nothing."""
    GONE = "gone"
    """The task isn't there. What needed it waits neither for it nor, through it, for what it needed."""
    EARLIER = "earlier"
    """The task begins as soon as its needs allow, out of the declared order."""
    BEFORE_JOB = "before-job"
    """The task's work is done before the job comes: it takes no time once its needs are there."""
    DEFERRED = "deferred"
    """The task begins after the first word, which does not wait for it."""


_NAMED = tuple(effect.value for effect in Effect if effect not in (Effect.SCALED, Effect.SHIFTED))


class BadChange(ValueError):
    """Raised for a change that can't be read or can't be made; the message says which, and what was expected."""


@dataclass(frozen=True, slots=True)
class TaskChange:
    """One change to one task: its effect, and by how much."""

    task: str
    effect: Effect
    amount: float = 0.0
    """SCALED: the factor. SHIFTED: microseconds, negative for shorter."""

    def __str__(self) -> str:
        if self.effect is Effect.SCALED:
            return f"{self.task} {self.amount:g} times as long"
        if self.effect is Effect.SHIFTED:
            return f"{self.task} {self.amount / 1000:+g} ms"
        return f"{self.task} {self.effect.value}"


def read_change(text: str) -> TaskChange:
    """Reads one change written as `TASK=CHANGE`, such as `account=-80ms`. Raises BadChange."""
    task, equals, change = (part.strip() for part in text.partition("="))
    if not task or not equals:
        raise BadChange(f"{text!r} is no change; expected TASK=CHANGE, and CHANGE {EXPECTED}")
    if change in _NAMED:
        return TaskChange(task, Effect(change))
    shift = re.fullmatch(r"([+-]\d+(?:\.\d+)?)\s*(ms|s)", change)
    if shift:
        return TaskChange(task, Effect.SHIFTED, float(shift[1]) * (1_000 if shift[2] == "ms" else 1_000_000))
    if re.fullmatch(r"\d+(\.\d+)?|\.\d+", change):
        return TaskChange(task, Effect.SCALED, float(change))
    near = difflib.get_close_matches(change, _NAMED, n=1, cutoff=0.75)
    raise BadChange(f"{task} can't become {change!r}; expected {near[0] if near else EXPECTED}")


def read_changes(texts: Iterable[str]) -> tuple[TaskChange, ...]:
    """Reads changes written as `TASK=CHANGE`. Raises BadChange, also where two of them change the same task."""
    changes = tuple(read_change(text) for text in texts)
    tasks = [change.task for change in changes]
    for task in tasks:
        if tasks.count(task) > 1:
            raise BadChange(f"{task} is changed twice; give one change")
    return changes


def changes_of_flag(told: Mapping[str, str], flag: str) -> tuple[TaskChange, ...]:
    """Returns the changes that a flag says it makes; empty where it says none. Raises BadChange, also for an unknown
    flag.

    told: flag name -> its changes as text, with blanks between.
    """
    if flag not in told:
        raise BadChange(f"there is no flag {flag}; {nearest(flag, list(told))}")
    try:
        return read_changes(told[flag].split())
    except BadChange as error:
        raise BadChange(f"`predicts` of {flag}: {error}") from None


def nearest(name: str, known: Sequence[str]) -> str:
    """Returns the end of an error message: the known names most like this one, such as `nearest: account`, or all of them."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"nearest: {', '.join(near)}"
    return f"there is: {', '.join(sorted(known))}" if known else "there is none"
