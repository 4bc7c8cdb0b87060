"""The figures of now in a small file for a repository, with what they were computed from.

After `firstword.tuning.observation`, before `firstword.tuning.difference`; `firstword save`. People read the figures; a later difference
is judged by the samples, which need no traces any more. A sample is a line of text: three digits of each value, so that
thousands of starts have some hundreds of values.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from firstword.tuning import observation as about
from firstword.tuning.observation import Observation
from firstword.tuning.start import method_of_all
from firstword.tuning.statistics import Interval, Sample, quantile, quantile_interval, rate, rate_interval

FORMAT = 2
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
ERRORS = "errors"
"""Name of the one figure that is a share."""
TASK_PREFIX = "task."
ERROR = 0.05
"""Probability that the range of a figure misses the truth, at all looks together."""

_MOST_STARTS = 10_000_000
"""A file that says more is none of ours."""
_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_TOKEN = re.compile(rf"(?P<value>never|{_NUMBER})(?P<censored>\+?)(?:@(?P<mass>{_NUMBER}))?(?:\*(?P<times>\d{{1,8}}))?")


class SavedError(Exception):
    """Raised where the file can't be read or written, or is none of ours; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a sample: a quantile, or a share."""

    sample: Sample
    p: float | None
    """The quantile's share, such as 0.9; None where the figure is a share."""

    @property
    def value(self) -> float:
        """Returns the figure: seconds, or a share from 0 to 1. Infinite where it was never reached."""
        return rate(self.sample) if self.p is None else quantile(self.sample, self.p)

    @property
    def interval(self) -> Interval:
        """Returns the range in which the true figure lies. The chance that any look is wrong is at most `ERROR`."""
        return rate_interval(self.sample, ERROR) if self.p is None else quantile_interval(self.sample, self.p, ERROR)


@dataclass(frozen=True, slots=True)
class Saved:
    """The samples of some sessions, from which their figures are computed."""

    sessions: int
    samples: Mapping[str, Sample]
    """`ttfw`, `init`, `errors`, `task.account`, ...: the session's own first, then the tasks'."""
    method: str | None = None
    """How their paths were found, as `firstword.tuning.start.method_of_all` says it."""

    @property
    def figures(self) -> dict[str, Figure]:
        """Returns figure name -> figure: `ttfw.p50`, `init.p90`, `errors`, `task.account.p99`, ..."""
        found: dict[str, Figure] = {}
        for name, sample in self.samples.items():
            if name == ERRORS:
                found[name] = Figure(sample, None)
            else:
                found |= {f"{name}.{quantile_name}": Figure(sample, p) for quantile_name, p in QUANTILES.items()}
        return found


def saved_of(observations: Sequence[Observation]) -> Saved:
    """Returns the samples of these sessions, rounded to three digits. A sample of which no value is known is left out."""
    samples = {"ttfw": about.ttfw(observations), "init": about.init(observations)}
    if observations:
        samples[ERRORS] = about.share(observations, about.failed)
    samples |= {f"{TASK_PREFIX}{name}": about.task(observations, name) for name in about.task_names(observations)}
    return Saved(
        sessions=len(observations),
        samples={name: _rounded(each) for name, each in samples.items() if not each.censored.all()},
        method=method_of_all(observation.method for observation in observations),
    )


def save(saved: Saved, path: Path) -> None:
    """Writes `saved` to `path`. Raises SavedError."""
    try:
        path.write_text(json.dumps(document(saved), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SavedError(f"{path} can't be written: {error.strerror}") from error


def document(saved: Saved) -> dict[str, object]:
    """Returns the content of a saved file as data for JSON; None stands for infinite: never, or no limit."""
    shown: dict[str, object] = {}
    for name, figure in saved.figures.items():
        interval = figure.interval
        shown[name] = {"value": _finite(figure.value), "low": _finite(interval.low), "high": _finite(interval.high)}
    samples = {name: {"starts": each.units, "values": as_text(each)} for name, each in saved.samples.items()}
    return {
        "firstword": FORMAT,
        "sessions": saved.sessions,
        "method": saved.method,
        "figures": shown,
        "samples": samples,
    }


def load(path: Path) -> Saved:
    """Reads what `save` wrote. Raises SavedError."""
    try:
        content: object = json.loads(path.read_bytes())
    except OSError as error:
        raise SavedError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SavedError(f"{path} is no JSON: {error}") from error
    expected = f"{path} is no file of `firstword save`"
    if not isinstance(content, dict) or "firstword" not in content:
        raise SavedError(expected)
    whole = cast("dict[str, object]", content)
    if whole["firstword"] != FORMAT:
        raise SavedError(
            f"{path} has format {whole['firstword']!r}; this firstword reads {FORMAT}: save the figures again"
        )
    sessions, told, method = whole.get("sessions"), whole.get("samples"), whole.get("method")
    if not isinstance(sessions, int) or not isinstance(told, dict) or not isinstance(method, str | None):
        raise SavedError(expected)
    try:
        samples = {name: _sample(name, each) for name, each in cast("dict[str, object]", told).items()}
    except (ValueError, OverflowError):
        raise SavedError(expected) from None
    return Saved(sessions, samples, method)


def as_text(of: Sample) -> str:
    """Returns a sample as a line of text, such as `0.398 0.401*3 1.2+ never@0.25`.

    Each item is a value. `+`: the truth is known to be later. `@`: what the value counts for. `*`: how often it occurs.
    """
    counted = Counter(zip(of.values.tolist(), of.censored.tolist(), of.mass.tolist(), strict=True))
    return " ".join(
        ("never" if math.isinf(value) else _three_digits(value))
        + ("+" if censored else "")
        + ("" if mass == 1 else f"@{mass!r}")
        + ("" if times == 1 else f"*{times}")
        for (value, censored, mass), times in counted.items()
    )


def _rounded(of: Sample) -> Sample:
    values = np.array([float(_three_digits(value)) for value in of.values], dtype=np.float64)
    order = np.lexsort((of.censored, values))
    return Sample(values[order], of.censored[order], of.mass[order], of.units)


def _sample(name: str, told: object) -> Sample:
    """Raises ValueError."""
    match told:
        case {"starts": int() | float() as units, "values": str() as values} if 0 < units <= _MOST_STARTS:
            found = [_TOKEN.fullmatch(token) for token in values.split()]
            tokens = [token for token in found if token is not None]
            if len(tokens) < len(found):
                raise ValueError(values)
            times = [int(t["times"] or 1) for t in tokens]
            if not 0 < sum(times) <= _MOST_STARTS:
                raise ValueError(values)
            seconds = np.repeat([math.inf if t["value"] == "never" else float(t["value"]) for t in tokens], times)
            censored = np.repeat([bool(t["censored"]) for t in tokens], times).astype(np.bool_)
            mass = np.repeat([float(t["mass"] or 1) for t in tokens], times)
            if mass.sum() > units * (1 + 1e-6) or not ((mass > 0) & (mass <= 1)).all():
                raise ValueError(values)
            if name == ERRORS and not np.isin(seconds, (0.0, 1.0)).all():
                raise ValueError(values)
            order = np.lexsort((censored, seconds))
            return Sample(seconds[order], censored[order], mass[order], units)
        case _:
            raise ValueError(told)


def _three_digits(value: float) -> str:
    return f"{value:.3g}"


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
