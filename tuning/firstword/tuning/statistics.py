"""How sure a figure is: quantiles and rates of few, late, censored or sampled starts, with intervals one may look at any time.

Below `firstword.tuning.compare`, `rollout`, `objectives` and `saved`; pure functions over arrays. Every interval is a confidence sequence:
with probability 1 - `error` it holds the truth at all looks together. So stopping at a good moment is allowed.

The tool is one test martingale. If q is the p-quantile, each unit (a session, or all sessions of one process) gives a number in [0, 1] with
mean p. It says whether the unit was at most q late. For such numbers the beta-binomial mixture

    B(rp + S, r(1 - p) + t - S) / (B(rp, r(1 - p)) p^S (1 - p)^(t - S)),    S their sum over t units

(averaged over two r) starts at 1 and is a supermartingale (Howard, Ramdas, McAuliffe, Sekhon 2021, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", Proposition 6), so by Ville's inequality it ever reaches 1/error with probability `error` at most. The
q it has not excluded are the interval (Howard, Ramdas 2022, "Sequential estimation of quantiles", Bernoulli 28(3), Theorem 1). Of two
variants the product is one too, and the pairs not excluded give the difference (there, Theorem 5). Ties are harmless: order them by lot,
and the quantile's value stays the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MIXTURES = ((0.2, 4.0), (0.8, 60.0))
"""Weight and r: the one for few units that differ much, the other for some hundreds (r is best at about eight times as
many, section 3.5 there). An average of such martingales is one too; intervals are valid with any choice."""
_GRID = 800
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """A range from `low` to `high`, both included; infinite where nothing bounds it."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Sample:
    """The observed values of one quantity, sorted."""

    values: Floats
    """Seconds, or 0 and 1 for shares. Infinite for what never came; for a censored one, how long it had been watched."""
    censored: NDArray[np.bool_]
    """True where the value is only known to be later than that."""
    mass: Floats
    """What each value counts for: at most 1, and at most 1 for all of one unit together."""
    units: float
    """Number of independent observations: sessions, or groups of sessions that hang together."""

    def scaled(self, factor: float) -> Sample:
        """Returns a sample of `factor` times as many starts that look like these: to guess how many more are needed."""
        return replace(self, mass=self.mass * factor, units=self.units * factor)


def sample(
    values: Sequence[float],
    *,
    censored: Sequence[bool] | None = None,
    weights: Sequence[float] | None = None,
    heaviest: float = 1.0,
    groups: Sequence[Hashable] | None = None,
) -> Sample:
    """Makes a sample of `values` (seconds; `math.inf` for never).

    censored: which are only lower bounds.
    weights, heaviest: how many starts each stands for, in a sampled store, and what one may at most. Intervals stay
        valid: w (is it at most q late? - p) has mean 0 whatever the weights w, so p + w/heaviest (...) is a number in
        [0, 1] with mean p, as the martingale wants it. They get wider: a start with a small weight says little.
    groups: what hangs together (sessions of one process): each group is one unit, whatever its size.
    """
    seconds = np.asarray(values, dtype=np.float64)
    late = np.zeros(len(seconds), dtype=np.bool_) if censored is None else np.asarray(censored, dtype=np.bool_)
    mass = np.ones(len(seconds)) if weights is None else np.asarray(weights, dtype=np.float64)
    mass = mass / max(mass.max(initial=0.0), heaviest)
    units = len(seconds)
    if groups is not None:
        sizes = Counter(groups)
        mass = mass / np.array([sizes[group] for group in groups], dtype=np.float64)
        units = len(sizes)
    order = np.lexsort((late, seconds))  # of equals, what came goes before what was left
    return Sample(seconds[order], late[order], mass[order], units)


def quantile(of: Sample, p: float) -> float:
    """Returns the p-quantile: the least value that at least the share p had reached. NaN for an empty sample.

    Weighted, and by Kaplan and Meier (1958) where some are censored. Infinite where the share p is never reached.
    """
    if not len(of.values):
        return math.nan
    at_risk = np.cumsum(of.mass[::-1])[::-1]
    staying = np.where(of.censored, 1.0, 1.0 - of.mass / at_risk)
    reached = np.flatnonzero((1.0 - np.cumprod(staying) >= p - _ROUNDING) & ~of.censored)
    return float(of.values[reached[0]]) if len(reached) else math.inf


def quantile_interval(of: Sample, p: float, error: float) -> Interval:
    """Returns the range in which the p-quantile lies. The chance that any look is wrong is at most `error`. Values are
    taken to be at least 0."""
    return _interval(_quantile_region(of, p), error)


def quantile_difference(a: Sample, b: Sample, p: float, error: float) -> Interval:
    """Returns the range of b's p-quantile minus a's (negative: b is earlier). The chance that any look is wrong is at most `error`."""
    return _difference(_quantile_region(a, p), _quantile_region(b, p), error)


def rate(of: Sample) -> float:
    """Returns the weighted share of values that are 1, among values 0 and 1. NaN for an empty sample."""
    total = float(of.mass.sum())
    return float(of.mass @ of.values) / total if total else math.nan


def rate_interval(of: Sample, error: float) -> Interval:
    """Returns the range in which the share lies. The chance that any look is wrong is at most `error`."""
    return _interval(_rate_region(of), error)


def rate_difference(a: Sample, b: Sample, error: float) -> Interval:
    """Returns the range of b's share minus a's (negative: b's is less). The chance that any look is wrong is at most `error`."""
    return _difference(_rate_region(a), _rate_region(b), error)


def share_evidence(of: Sample, share: float) -> float:
    """Returns the evidence, at least 0, that values 0 and 1 were not drawn with that share of 1.

    If they were, it exceeds x with probability 1/x at most. For a sample ratio mismatch (Lindon, Malek 2022,
    "Anytime-valid inference for multinomial count data").
    """
    ones = of.units * share + float(of.mass @ (of.values - share))
    return math.exp(min(float(log_mixture(np.array(ones), of.units, share)), 700.0))


def log_mixture(reached: Floats, units: float | Floats, p: float) -> Floats:
    """Returns the logarithm of the martingale in the module's first lines: the evidence against p, `reached` being the sum S."""
    likelihood = reached * math.log(p) + (units - reached) * math.log1p(-p)
    logs: list[Floats] = []
    for weight, r in _MIXTURES:
        a, b = r * p, r * (1 - p)
        prior = math.lgamma(a) + math.lgamma(b) - math.lgamma(r)
        posterior = _log_gamma(a + reached) + _log_gamma(b + units - reached) - _log_gamma(np.asarray(r + units))
        logs.append(math.log(weight) + posterior - prior - likelihood)
    return np.logaddexp.reduce(logs)


@dataclass(frozen=True, slots=True)
class _Region:
    """Candidates in ascending order: what speaks against each (log), and the values each may be."""

    against: Floats
    low: Floats
    high: Floats


def _quantile_region(of: Sample, p: float) -> _Region:
    """Candidate k is any q between the k-th value and the next. A censored one may have been at most q late, or not. Of both possibilities,
    and all between, the one that speaks least against q is taken."""
    known = np.concatenate(([0.0], np.cumsum(np.where(of.censored, 0.0, of.mass))))
    possible = np.concatenate(([0.0], np.cumsum(of.mass)))
    missing = p * (of.units - possible[-1])
    expected = p * of.units
    reached = np.clip(expected, missing + known, missing + possible)
    against = log_mixture(reached, of.units, p)
    return _Region(against, np.concatenate(([0.0], of.values)), np.concatenate((of.values, [math.inf])))


def _rate_region(of: Sample) -> _Region:
    """Candidates on a grid that is dense near 0 and 1; each stands for all up to its neighbours."""
    grid = np.sin(np.arange(_GRID + 2) * (math.pi / 2 / (_GRID + 1))) ** 2
    rates = grid[1:-1]
    ones = rates * (of.units - of.mass.sum()) + of.mass @ of.values
    zeros = of.units - ones
    # Beta(1/2, 1/2), whose B is pi: rates of errors are near 0
    posterior = _log_gamma(0.5 + ones) + _log_gamma(0.5 + zeros) - _log_gamma(np.asarray(1.0 + of.units))
    against = posterior - math.log(math.pi) - ones * np.log(rates) - zeros * np.log1p(-rates)
    return _Region(against, grid[:-2], grid[2:])


def _interval(region: _Region, error: float) -> Interval:
    left = np.flatnonzero(region.against <= max(-math.log(error), float(region.against.min())))
    return Interval(float(region.low[left[0]]), float(region.high[left[-1]]))


def _difference(a: _Region, b: _Region, error: float) -> Interval:
    """The least and the greatest of b - a over all pairs that the product of both has not excluded."""
    best = int(np.argmin(b.against))
    limit = max(-math.log(error), float(a.against.min() + b.against[best]))
    left = np.flatnonzero(a.against + b.against[best] <= limit)
    room = limit - a.against[left]
    # what speaks against a candidate falls up to the best one, then rises
    first = np.searchsorted(-b.against[: best + 1], -room, side="left").clip(max=best)
    last = best - 1 + np.searchsorted(b.against[best:], room, side="right").clip(min=1)
    with np.errstate(invalid="ignore"):
        low = b.low[first] - a.high[left]
        high = b.high[last] - a.low[left]
    # infinity less infinity: both never come, and nothing is known of the difference
    return Interval(
        float(np.nan_to_num(low, nan=-math.inf, posinf=math.inf, neginf=-math.inf).min()),
        float(np.nan_to_num(high, nan=math.inf, posinf=math.inf, neginf=-math.inf).max()),
    )


def _log_gamma(x: Floats) -> Floats:
    """ln of the gamma function of 0 < x < 1e40, to 1e-11: Stirling's series after seven steps of the recurrence."""
    steps = x * (x + 1) * (x + 2) * (x + 3) * (x + 4) * (x + 5) * (x + 6)
    y = x + 7
    z = 1 / (y * y)
    series = (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z / 1680))) / y
    return (y - 0.5) * np.log(y) - y + 0.5 * math.log(2 * math.pi) + series - np.log(steps)
