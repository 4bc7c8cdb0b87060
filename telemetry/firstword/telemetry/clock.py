"""Where the time of a start comes from: the one place that reads a clock, so that a test can hand in another."""

from __future__ import annotations

import os
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


def process_created() -> int | None:
    """When this process was created, Unix ns, to a hundredth of a second; None where the system doesn't say.

    Linux: `starttime` in /proc/self/stat, which counts from the boot as `CLOCK_BOOTTIME` does.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
        since_boot = int(after_name[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return time.time_ns() - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_boot)
    except (OSError, ValueError, IndexError, AttributeError):
        return None
