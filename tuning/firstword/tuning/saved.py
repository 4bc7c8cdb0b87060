"""The figures of now in a small file for a repository, and what changed since: by task, and whether it is noise.

After `firstword.tuning.observation`; `firstword save` and `firstword diff`. A file holds each figure with the interval it was sure
of, so that a difference can be judged later without the traces it came from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

from firstword.tuning import observation as about
from firstword.tuning.observation import Observation
from firstword.tuning.start import method_of_all
from firstword.tuning.statistics import Interval, Sample, quantile, quantile_interval, rate, rate_interval

FORMAT = 1
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
ERROR = 0.05
"""Probability that a difference is called one though it is noise, for one figure."""


class SavedError(Exception):
    """The file can't be read or written, or is none of ours; the message says which and why."""


class Change(StrEnum):
    """What became of a figure."""

    WORSE = "worse"
    BETTER = "better"
    NOISE = "noise"
    """The difference may be chance."""
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and where its truth is; seconds, or a share. Infinite: never."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Saved:
    """The figures of some sessions."""

    sessions: int
    figures: Mapping[str, Figure]
    """`ttfw.p50`, `init.p90`, `errors`, `task.account.p99`, ..."""
    method: str | None = None
    """How their paths were found, as `firstword.tuning.start.method_of_all` says it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure, then and now."""

    name: str
    then: Figure | None
    now: Figure | None

    @property
    def interval(self) -> Interval:
        """Of now less then."""
        if self.then is None or self.now is None:
            return Interval(-math.inf, math.inf)
        then, now = self.then.interval, self.now.interval
        low, high = now.low - then.high, now.high - then.low
        return Interval(-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)

    @property
    def change(self) -> Change:
        """What became of it."""
        if self.then is None or self.now is None:
            return Change.NEW if self.then is None else Change.GONE
        return Change.WORSE if self.interval.low > 0 else Change.BETTER if self.interval.high < 0 else Change.NOISE


def figures(observations: Sequence[Observation]) -> Saved:
    """The figures of these sessions; what no session has is left out."""
    method = method_of_all(observation.method for observation in observations)
    return Saved(len(observations), dict(_figures(observations)), method)


def save(saved: Saved, path: Path) -> None:
    """Write `saved` to `path`. Raises SavedError."""
    try:
        path.write_text(json.dumps(document(saved), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SavedError(f"{path} can't be written: {error.strerror}") from error


def document(saved: Saved) -> dict[str, object]:
    """The content of such a file; null is infinite: never, or no limit."""
    shown = {
        name: {"value": _finite(f.value), "low": _finite(f.interval.low), "high": _finite(f.interval.high)}
        for name, f in saved.figures.items()
    }
    return {"firstword": FORMAT, "sessions": saved.sessions, "method": saved.method, "figures": shown}


def load(path: Path) -> Saved:
    """Read what `save` wrote. Raises SavedError."""
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
        raise SavedError(f"{path} has format {whole['firstword']!r}; this firstword reads {FORMAT}")
    sessions, shown, method = whole.get("sessions"), whole.get("figures"), whole.get("method")
    if not isinstance(sessions, int) or not isinstance(shown, dict) or not isinstance(method, str | None):
        raise SavedError(expected)
    found = {name: _figure(value, expected) for name, value in cast("dict[str, object]", shown).items()}
    return Saved(sessions, found, method)


def diff(then: Saved, now: Saved) -> tuple[Difference, ...]:
    """What changed: first the session's figures, then the tasks', those first whose p50 grew most."""

    def order(name: str) -> tuple[bool, float, str, int]:
        task = name.startswith("task.")
        stem, _, quantile_name = name.rpartition(".")
        before, after = then.figures.get(f"{stem}.p50"), now.figures.get(f"{stem}.p50")
        grew = after.value - before.value if task and before and after else 0.0
        position = [*QUANTILES, ""].index(quantile_name if quantile_name in QUANTILES else "")
        return (task, -grew, {"ttfw": "0", "init": "1"}.get(stem, stem or "2"), position)

    names = sorted({*then.figures, *now.figures}, key=order)
    return tuple(Difference(name, then.figures.get(name), now.figures.get(name)) for name in names)


def _figures(observations: Sequence[Observation]) -> Iterator[tuple[str, Figure]]:
    yield from _quantiles("ttfw", about.ttfw(observations))
    yield from _quantiles("init", about.init(observations))
    if observations:
        failed = about.share(observations, about.failed)
        yield "errors", Figure(rate(failed), rate_interval(failed, ERROR / 2))
    for name in about.task_names(observations):
        yield from _quantiles(f"task.{name}", about.task(observations, name))


def _quantiles(name: str, of: Sample) -> Iterator[tuple[str, Figure]]:
    if len(of.values) and not of.censored.all():
        for quantile_name, p in QUANTILES.items():
            # half the error each, then and now
            yield f"{name}.{quantile_name}", Figure(quantile(of, p), quantile_interval(of, p, ERROR / 2))


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _figure(value: object, expected: str) -> Figure:
    match value:
        case {
            "value": int() | float() | None as seen,
            "low": int() | float() | None as low,
            "high": int() | float() | None as high,
        }:
            try:
                return Figure(_number(seen), Interval(_number(low), _number(high)))
            except OverflowError:
                raise SavedError(expected) from None
        case _:
            raise SavedError(expected)


def _number(value: float | None) -> float:
    return math.inf if value is None else float(value)
