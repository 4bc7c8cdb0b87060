"""Predicts what callers would have waited had tasks been otherwise: plays recorded starts again, and says how sure the
answer is.

After `firstword.tuning.replay`, for `firstword what-if`. Starts without a first word stay as they were: errors
infinitely late, callers who left censored (`firstword.tuning.observation`). The ranges are of the sessions drawn, not
of the model's own mistakes.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from firstword.tuning.change import BadChange, TaskChange, nearest
from firstword.tuning.left_running import Use, uses_in
from firstword.tuning.observation import observation
from firstword.tuning.replay import NotPlayable, model_of, ttfw
from firstword.tuning.spans import Trace
from firstword.tuning.start import start_of
from firstword.tuning.statistics import Floats, Interval, quantile, sample
from firstword.tuning.wording import agree, amount

SHARES = (0.5, 0.9)
_LEARNT_FROM = 200
"""Starts, the first of a source, that say who uses what a task left running."""
_RESAMPLES = 400
_ERROR = 0.05
_SEED = 1


@dataclass(frozen=True, slots=True)
class Forecast:
    """One quantile of the time to first word, now and predicted, in seconds; infinite where so many never heard it."""

    p: float
    now: float
    predicted: float
    predicted_range: Interval | None
    """95 % range of `predicted`, by drawing the sessions again; None for a single session."""
    difference_range: Interval | None
    """95 % range of `predicted` minus `now`, with the same sessions in both."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The time to first word predicted for all starts of a source together, and how many starts it is made of."""

    changes: tuple[TaskChange, ...]
    sessions: int
    """Number of starts in which a caller was there."""
    played: int
    """How many of these were played again; those without a first word stay as they were."""
    left_out: int
    """How many of these are in no figure: they had a first word, but their trace has lost spans."""
    moved: int
    """How many of these would have spoken at another time, by a millisecond at least."""
    already: int
    """Number of starts left out because they ran with the flag."""
    forecasts: tuple[Forecast, ...]
    uses: tuple[Use, ...]
    """Waits that we assumed beyond what the plan says."""


class NothingToPlay(LookupError):
    """Raised where there is no start that can be played; the message says why."""


def predict(traces: Iterable[Trace], changes: Sequence[TaskChange], *, flag: str | None = None) -> Prediction:
    """Plays each start again with the changes, and predicts the figures that would come of it.

    flag: whose changes these are: starts that have it on are left out, and tasks that they don't have are passed over.
    Raises NothingToPlay, BadChange (a task nobody has among them), and what `traces` raises.
    """
    seen = _Seen()
    reading = iter(traces)
    first = list(islice(reading, _LEARNT_FROM))
    uses = uses_in(start_of(trace) for trace in first if trace.is_start)
    for trace in chain(first, reading):
        seen.traces += 1
        watched = observation(trace)
        if watched is None:
            continue
        if flag is not None and watched.flags.get(flag) == "on":
            seen.already += 1
            continue
        predicted = watched.ttfw
        seen.sessions += 1
        if math.isfinite(watched.ttfw) and not watched.abandoned:
            try:
                model = model_of(start_of(trace), uses)
                predicted = ttfw(model, changes)
            except NotPlayable:
                seen.left_out += 1
                continue
            finally:
                seen.tasks.update(watched.tasks)
            seen.played += 1
        seen.now.append(watched.ttfw)
        seen.predicted.append(predicted)
        seen.weights.append(watched.sampling.weight)
        seen.censored.append(watched.abandoned)
    seen.check(changes, flag)
    return seen.prediction(tuple(changes), tuple(sorted(uses)))


@dataclass(slots=True)
class _Seen:
    """What was read so far, a few numbers a start."""

    traces: int = 0
    sessions: int = 0
    played: int = 0
    left_out: int = 0
    already: int = 0
    now: array[float] = field(default_factory=lambda: array("d"))
    predicted: array[float] = field(default_factory=lambda: array("d"))
    weights: array[float] = field(default_factory=lambda: array("d"))
    censored: list[bool] = field(default_factory=list[bool])
    tasks: set[str] = field(default_factory=set[str])

    def check(self, changes: Sequence[TaskChange], flag: str | None) -> None:
        if not self.traces:
            raise NothingToPlay("no trace")
        if not self.played:
            raise NothingToPlay(self._why())
        unknown = [change.task for change in changes if change.task not in self.tasks]
        if unknown and (flag is None or len(unknown) == len(changes)):
            raise BadChange(f"no start has a task {unknown[0]}; {nearest(unknown[0], sorted(self.tasks))}")

    def _why(self) -> str:
        if self.already and not self.sessions:
            return (
                f"{agree(self.already, 'the only start has', f'all {self.already:,} starts have')} the flag on already, "
                "so nothing is left to predict from"
            )
        if not self.sessions:
            return f"no start of ours with a caller among {amount(self.traces, 'trace')}"
        return f"no start can be played, of {amount(self.sessions, 'start')}: no first word, no plan, or spans are lost"

    def prediction(self, changes: tuple[TaskChange, ...], uses: tuple[Use, ...]) -> Prediction:
        now, predicted = np.array(self.now), np.array(self.predicted)
        weights, censored = np.array(self.weights), np.array(self.censored)
        with np.errstate(invalid="ignore"):
            moved = int((np.abs(predicted - now) >= 0.001).sum())
        return Prediction(
            changes=changes,
            sessions=self.sessions,
            played=self.played,
            left_out=self.left_out,
            moved=moved,
            already=self.already,
            forecasts=_forecasts(now, predicted, weights, censored),
            uses=uses,
        )


def _forecasts(now: Floats, predicted: Floats, weights: Floats, censored: np.ndarray) -> tuple[Forecast, ...]:
    """Point estimates, and percentile intervals of the bootstrap (Efron 1979): sessions drawn again, in pairs."""

    def both(times: Floats) -> list[tuple[float, float]]:
        drawn = np.flatnonzero(times)
        heavy = [
            sample(of[drawn].tolist(), censored=censored[drawn].tolist(), weights=(weights * times)[drawn].tolist())
            for of in (now, predicted)
        ]
        return [(quantile(heavy[0], p), quantile(heavy[1], p)) for p in SHARES]

    count = len(now)
    random = np.random.default_rng(_SEED)
    points = both(np.ones(count))
    draws = [
        both(np.bincount(random.integers(0, count, count), minlength=count).astype(float))
        for _ in range(_RESAMPLES if count > 1 else 0)
    ]
    return tuple(
        Forecast(
            p=p,
            now=points[i][0],
            predicted=points[i][1],
            predicted_range=_range([after[i][1] for after in draws]),
            difference_range=_range([_difference(*pair[i]) for pair in draws]),
        )
        for i, p in enumerate(SHARES)
    )


def _difference(before: float, after: float) -> float:
    return after - before if math.isfinite(before) and math.isfinite(after) else math.nan


def _range(values: list[float]) -> Interval | None:
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        return None
    cut = int(len(known) * _ERROR / 2)
    return Interval(known[cut], known[-1 - cut])
