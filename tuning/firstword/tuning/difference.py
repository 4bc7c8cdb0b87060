"""What became of the figures of a file: faster, slower, the same, or not sure yet and how many more starts may tell.

After `firstword.tuning.saved`, for `firstword diff`. The probability that a figure is falsely called faster or slower
is ERROR at most, at all looks together.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from firstword.tuning.saved import ERROR, QUANTILES, TASK_PREFIX, Figure, Saved, as_text
from firstword.tuning.statistics import Interval, Sample, quantile_difference, rate_difference

UNNOTICED = 0.1
"""A difference that is surely smaller than this share of `then` counts as none: a caller would not notice."""
UNNOTICED_S = 0.001
"""A difference that is surely shorter than this many seconds counts as none."""
UNNOTICED_SHARE = 0.001
"""A difference of shares that is surely smaller than this counts as none."""
_GROWTH, _MOST_GROWTH = 1.25, 1000.0
_MOST_STARTS = 50_000
"""More than these are out of reach."""


class Change(StrEnum):
    """How a figure changed between `then` and `now`, such as `slower`, `same` or `not sure`."""

    SLOWER = "slower"
    FASTER = "faster"
    MORE = "more"
    """The share of errors rose."""
    FEWER = "fewer"
    SAME = "same"
    UNSURE = "not sure"
    """The difference may be chance, and there may be none."""
    NEW = "new"
    GONE = "gone"


WORSE = frozenset({Change.SLOWER, Change.MORE})
BETTER = frozenset({Change.FASTER, Change.FEWER})


@dataclass(frozen=True, slots=True)
class More:
    """How many more starts it takes to be sure of a difference."""

    starts: int
    saved_too: bool
    """Whether half of them must be saved anew: too few were saved for any number of new ones to tell."""


@dataclass(frozen=True)
class Difference:
    """One figure then and now, and how it changed."""

    name: str
    then: Figure | None
    now: Figure | None

    @cached_property
    def interval(self) -> Interval:
        """Returns the range in which `now` minus `then` surely lies; unbounded where either is missing."""
        if self.then is None or self.now is None:
            return Interval(-math.inf, math.inf)
        return _interval(self.then, self.now)

    @property
    def within(self) -> float:
        """Returns the size that the difference surely does not exceed, in either direction; 0 where both are the same starts."""
        if self.then is not None and self.now is not None and _are_one(self.then.sample, self.now.sample):
            return 0.0
        return _within(self.interval)

    @cached_property
    def change(self) -> Change:
        """Returns how the figure changed, such as `slower`; `new` or `gone` where it is missing on one side."""
        if self.then is None or self.now is None:
            return Change.NEW if self.then is None else Change.GONE
        return Change.SAME if not self.within else _change(self.interval, self.then)

    @cached_property
    def more(self) -> More | None:
        """Returns about how many more starts would decide the change; None where it is decided, or out of reach."""
        if self.then is None or self.now is None or self.change is not Change.UNSURE:
            return None
        for saved_too in (False, True):
            if found := _more(self.then, self.now, saved_too):
                return found
        return None


def diff(then: Saved, now: Saved) -> tuple[Difference, ...]:
    """Compares two sets of saved figures, name by name. Returns the session's figures first, then the tasks', the p50
    that grew most first."""
    before, after = then.figures, now.figures
    values = {name: (figure.value, after[name].value) for name, figure in before.items() if name in after}

    def order(name: str) -> tuple[bool, float, str, int]:
        task = name.startswith(TASK_PREFIX)
        stem, _, quantile_name = name.rpartition(".")
        one, other = values.get(f"{stem}.p50", (0.0, 0.0))
        position = [*QUANTILES, ""].index(quantile_name if quantile_name in QUANTILES else "")
        return (task, one - other if task else 0.0, {"ttfw": "0", "init": "1"}.get(stem, stem or "2"), position)

    return tuple(Difference(name, before.get(name), after.get(name)) for name in sorted({**before, **after}, key=order))


def _interval(then: Figure, now: Figure) -> Interval:
    if then.p is None:
        return rate_difference(then.sample, now.sample, ERROR)
    return quantile_difference(then.sample, now.sample, then.p, ERROR)


def _more(then: Figure, now: Figure, saved_too: bool) -> More | None:
    def tells(by: float) -> bool:
        later = replace(now, sample=_grown(now.sample, by))
        before = replace(then, sample=_grown(then.sample, by)) if saved_too else then
        return _change(_interval(before, later), then) is not Change.UNSURE

    starts = len(now.sample.values) + (len(then.sample.values) if saved_too else 0)
    most = min(_MOST_GROWTH, _MOST_STARTS / max(starts, 1))
    growth = [_GROWTH**step for step in range(1, max(math.floor(math.log(most, _GROWTH)), 1))] if most > 1 else []
    enough = bisect.bisect_left(growth, True, key=tells)
    if enough == len(growth):
        return None
    more = starts * (growth[enough] - 1)
    step = 10 if more < 200 else 100
    return More(math.ceil(more / step) * step, saved_too)


def _grown(of: Sample, by: float) -> Sample:
    """`by` times as many starts that look like these."""
    count = len(of.values)
    chosen = np.arange(math.ceil(count * by)) * count // math.ceil(count * by)
    return Sample(of.values[chosen], of.censored[chosen], of.mass[chosen], of.units * len(chosen) / count)


def _change(interval: Interval, then: Figure) -> Change:
    share, within = then.p is None, _within(interval)
    if within <= (UNNOTICED_SHARE if share else UNNOTICED_S):
        return Change.SAME
    if interval.low > 0:
        return Change.MORE if share else Change.SLOWER
    if interval.high < 0:
        return Change.FEWER if share else Change.FASTER
    return Change.SAME if within <= UNNOTICED * then.value < math.inf else Change.UNSURE


def _within(interval: Interval) -> float:
    return max(abs(interval.low), abs(interval.high))


def _are_one(a: Sample, b: Sample) -> bool:
    return (a.units, as_text(a)) == (b.units, as_text(b))
