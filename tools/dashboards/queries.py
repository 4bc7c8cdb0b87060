"""PromQL that several panels share. A window is `$__rate_interval` in a graph, `$__range` in a figure of the whole range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

RATE: Final = "$__rate_interval"
RANGE: Final = "$__range"
CHOSEN: Final = "$quantile"
"""The quantile that the dashboard's variable names."""

JOB: Final = 'job=~"$job"'
"""The services that the dashboard's variable names."""
HEARD: Final = 'startup_outcome="first_word"'
OURS: Final = 'startup_outcome=~"first_word|failed|timed_out"'
"""Starts that a worker answers for: no caller left, and somebody came."""
FLAG: Final = 'feature_flag_key=~"$flag"'

STARTS: Final = "startup_starts_total"
TTFW: Final = "startup_ttfw_seconds"
INIT: Final = "startup_init_seconds"
TASK: Final = "startup_task_duration_seconds"


def labels(*matchers: str) -> str:
    """Returns the matchers as they follow a metric's name."""
    return f"{{{', '.join(matchers)}}}"


def quantile(q: str, histogram: str, *matchers: str, by: Sequence[str] = (), window: str = RATE, job: str = JOB) -> str:
    """Returns the quantile `q` of a histogram in seconds, for each value of the labels `by`."""
    rate = f"rate({histogram}_bucket{labels(job, *matchers)}[{window}])"
    return f"histogram_quantile({q}, sum by ({', '.join(('le', *by))}) ({rate}))"


def total(counter: str, *matchers: str, by: Sequence[str] = (), window: str = RATE, job: str = JOB) -> str:
    """Returns how much a counter grew in the window, for each value of the labels `by`."""
    grouped = f"sum by ({', '.join(by)})" if by else "sum"
    return f"{grouped} (increase({counter}{labels(*filter(None, (job, *matchers)))}[{window}]))"


def per_minute(counter: str, *matchers: str, by: Sequence[str] = (), job: str = JOB) -> str:
    """Returns how much a counter grows in a minute, for each value of the labels `by`."""
    grouped = f"sum by ({', '.join(by)})" if by else "sum"
    return f"60 * {grouped} (rate({counter}{labels(*filter(None, (job, *matchers)))}[{RATE}]))"


def heard_share(window: str) -> str:
    """Returns the share of the starts that a worker answers for that had a first word."""
    return f"{total(STARTS, HEARD, window=window)} / {total(STARTS, OURS, window=window)}"


def hit_share(window: str, by: Sequence[str] = ()) -> str:
    """Returns the share of lookups that found something in a cache."""
    hits = total("startup_cache_total", 'startup_cache="hit"', by=by, window=window)
    lookups = total("startup_cache_total", by=by, window=window)
    return f"({hits} or 0 * {lookups}) / {lookups}"


def fallbacks_a_start(window: str, by: Sequence[str] = ()) -> str:
    """Returns how many fallbacks a start had in the mean."""
    fallbacks = total("startup_fallbacks_total", by=by, window=window)
    none = "" if by else " or vector(0)"
    return f"({fallbacks}{none}) / scalar({total(STARTS, OURS, window=window)})"
