"""The clock of a start: the one place that reads a clock, so that a test can use another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

Clock = Callable[[], int]
"""A function that returns whole nanoseconds since the Unix epoch, and never goes back."""


def session_clock() -> Clock:
    """Returns a clock for one session. It reads the wall clock once, now, and adds monotonic time to that."""
    epoch = time.time_ns() - time.monotonic_ns()

    def now() -> int:
        return epoch + time.monotonic_ns()

    return now


def process_created() -> int | None:
    """Returns when this process was created, Unix ns, to a hundredth of a second. None if the system doesn't say.

    Linux: `starttime` in /proc/self/stat, which counts from the boot as `CLOCK_BOOTTIME` does.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
        since_boot = int(after_name[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return time.time_ns() - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_boot)
    except (OSError, ValueError, IndexError, AttributeError):
        return None
