"""Sets the clocks of the `time` module to a virtual loop: LiveKit and firstword read `time.time` and its like, not the
loop's time.

For the duration of a test only, and for code that calls through the module (`time.time()`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from typing import Any

from firstword.telemetry.testing import EPOCH, VirtualTimeLoop


@contextlib.contextmanager
def wall_clock_of(loop: VirtualTimeLoop) -> Generator[None]:
    """Context manager: inside, `time.time`, `monotonic`, `perf_counter` and their `_ns` return the loop's time.
    `time.time` begins at `EPOCH`.
    """
    virtual: dict[str, Callable[[], Any]] = {
        "time": lambda: EPOCH / 1e9 + loop.time(),
        "time_ns": loop.clock,
        "monotonic": loop.time,
        "monotonic_ns": lambda: round(loop.time() * 1e9),
        "perf_counter": loop.time,
        "perf_counter_ns": lambda: round(loop.time() * 1e9),
    }
    real = {name: getattr(time, name) for name in virtual}
    for name, clock in virtual.items():
        setattr(time, name, clock)
    try:
        yield
    finally:
        for name, clock in real.items():
            setattr(time, name, clock)
