"""Keeps all cores awake, for benchmarks that compare how long something computes.

A core that slept computes more slowly at first, on a virtual machine by half. So a change that takes computing out lets what follows
it run on a colder core. A production machine with many calls has no such cores, and so a benchmark of changes should have none.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from firstword.rehearsal.processes import started

_COMPUTE = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
"""By the scheduling policy for what runs only where nothing else does; anything else has the core at once (Linux)."""


@asynccontextmanager
async def awake_cores() -> AsyncGenerator[None]:
    """Context manager: on each core something computes wherever nothing else does."""
    async with contextlib.AsyncExitStack() as running:
        for _ in range(os.cpu_count() or 1):
            await running.enter_async_context(started((sys.executable, "-c", _COMPUTE), {}))
        yield
