"""Where the time of a start comes from: the one place that reads a clock, so that a test can hand in another."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns whole nanoseconds since the Unix epoch; never goes back."""


def session_clock() -> Clock:
    """A clock for one session: one reading of the wall clock now, monotonic offsets on it from then on."""
    epoch = time.time_ns() - time.monotonic_ns()

    def now() -> int:
        return epoch + time.monotonic_ns()

    return now
