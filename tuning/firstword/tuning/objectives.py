"""Reads objectives such as `ttfw.p90<1.5`, and checks sessions against them.

After `firstword.tuning.observation`, for CI and deploy gates (`firstword check`). The figure seen decides; whether that
is sure, or might be chance, is said beside it, by an interval one may look at any time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from firstword.tuning import observation as about
from firstword.tuning.observation import Observation
from firstword.tuning.statistics import Interval, Sample, quantile, quantile_interval, rate, rate_interval
from firstword.tuning.wording import amount

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
RATES = {"errors": about.failed, "abandoned": about.left, "fallbacks": about.fell_back}
TIMES = {"ttfw": about.ttfw, "init": about.init, "heard": about.heard}
"""`heard` is an audit's: no trace tells what reached an ear."""
ERROR = 0.05
"""Probability that an interval misses the truth, at all looks together."""

_SHAPE = re.compile(r"\s*(?P<name>[^<>=\s]+)\s*<\s*(?P<number>[0-9.]+)\s*(?P<unit>[^\s0-9.]*)\s*")
_TIME_UNITS = {"": 1.0, "s": 1.0, "ms": 0.001}
_RATE_UNITS = {"": 1.0, "%": 0.01}


class ObjectiveError(ValueError):
    """Raised for an objective that can't be understood or answered; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A limit on one figure, such as p90 of the time to first word."""

    text: str
    """`NAME<LIMIT`, with the unit that was typed."""
    name: str
    """`ttfw.p90`, `errors`, `task.account.p50`."""
    limit: float
    """Seconds; of a rate, a share between 0 and 1."""


@dataclass(frozen=True, slots=True)
class ObjectiveResult:
    """The answer to one objective: the figure seen, its interval, and whether the objective is met."""

    objective: Objective
    value: float
    """The figure seen: seconds, or a share. Infinite: never reached. NaN: no session says."""
    interval: Interval
    """Range of the figure of all sessions. The sessions that were read are a sample of them."""
    sessions: int

    @property
    def met(self) -> bool:
        """Returns whether the figure seen is below the limit."""
        return self.value < self.objective.limit

    @property
    def sure(self) -> bool:
        """Returns whether the whole interval is on the same side of the limit as the figure."""
        limit = self.objective.limit
        return self.interval.high < limit if self.met else self.interval.low >= limit

    def __str__(self) -> str:
        what = f"{self.objective.text}: {'met' if self.met else 'missed'}"
        if math.isnan(self.value):
            return f"{what}: no session says"
        sessions = amount(self.sessions, "session")
        doubt = "" if self.sure else f"; too few to be sure, it may be {_shown(self.interval, self.objective)}"
        return f"{what}: {_figure(self.value, self.objective)} in {sessions}{doubt}"


def objective(text: str) -> Objective:
    """Reads one objective, `NAME<LIMIT`, as `ttfw.p90<1500ms` or `errors<1%`. Raises ObjectiveError."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise ObjectiveError(f"{text!r} is no objective; expected NAME<LIMIT, as ttfw.p90<1500ms or errors<1%")
    name, number, unit = shape["name"], shape["number"], shape["unit"]
    if not _known(name):
        names = [*RATES, *(f"{time}.{quantile}" for time in TIMES for quantile in QUANTILES), "task.NAME.p90"]
        near = get_close_matches(name, names, n=3, cutoff=0.5) or names
        raise ObjectiveError(f"{text!r}: no figure is named {name!r}; there is: {', '.join(near)}")
    units = _RATE_UNITS if name in RATES else _TIME_UNITS
    if unit.lower() not in units:
        expected = "1% or 0.01" if name in RATES else "1500ms, 1.5s or 1.5"
        raise ObjectiveError(f"{text!r}: {unit!r} is no unit of {name}; expected a limit as {expected}")
    try:
        return Objective(f"{name}<{number}{unit}", name, float(number) * units[unit.lower()])
    except ValueError:
        raise ObjectiveError(f"{text!r}: {number!r} is no number; expected one as 1.5") from None


def answer(objective: Objective, observations: Sequence[Observation]) -> ObjectiveResult:
    """Computes the objective's figure from the sessions and compares it with the limit, below which it must be.

    Raises ObjectiveError for a task that no session has, and for `heard` where no session says what was heard. Without
    any sessions it raises nothing: the figure is NaN.
    """
    name, _, quantile_name = objective.name.rpartition(".")
    if objective.name in RATES:
        seen = about.share(observations, RATES[objective.name])
        return ObjectiveResult(objective, rate(seen), rate_interval(seen, ERROR), len(observations))
    if name == "heard" and observations and all(each.heard is None for each in observations):
        raise ObjectiveError(f"{objective.text!r}: no trace tells what was heard; expected ttfw in place of heard")
    seen = TIMES[name](observations) if name in TIMES else _task(name.removeprefix("task."), objective, observations)
    p = QUANTILES[quantile_name]
    if p < 1:
        return ObjectiveResult(objective, quantile(seen, p), quantile_interval(seen, p, ERROR), len(seen.values))
    value = float(seen.values.max(initial=-math.inf)) if len(seen.values) else math.nan
    return ObjectiveResult(
        objective, value, Interval(value, value), len(seen.values)
    )  # of these sessions, so nothing is in doubt


def _known(name: str) -> bool:
    kind, _, quantile_name = name.rpartition(".")
    timed = kind in TIMES or (kind.startswith("task.") and len(kind) > len("task."))
    return name in RATES or (timed and quantile_name in QUANTILES)


def _task(name: str, objective: Objective, observations: Sequence[Observation]) -> Sample:
    names = about.task_names(observations)
    if observations and name not in names:
        near = get_close_matches(name, names, n=3) or names
        there = f"there is: {', '.join(near)}" if near else "none has any task"
        raise ObjectiveError(f"{objective.text!r}: no session has a task {name!r}; {there}")
    return about.task(observations, name)


def _figure(value: float, of: Objective) -> str:
    if of.name in RATES:
        return f"{value:.4g}"
    return f"{value:.3g} s" if math.isfinite(value) else "never"


def _shown(interval: Interval, of: Objective) -> str:
    if math.isinf(interval.high):
        return f"{_figure(interval.low, of)} or more"
    return f"{_figure(interval.low, of)} to {_figure(interval.high, of)}"
