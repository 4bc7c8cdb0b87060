"""Waiting for what happens in other processes: for an outcome, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds: only what hangs takes so long, however busy the machine is."""
_LOOK_EVERY = 0.05


async def until(holds: Callable[[], bool]) -> None:
    """Wait for it. TimeoutError after `PATIENCE`."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(_LOOK_EVERY)
