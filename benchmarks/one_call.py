"""One call of a worker on a local stack, as its caller hears it. For benchmarks that call in turn."""

from __future__ import annotations

import asyncio
import contextlib

from livekit import api

from firstword.rehearsal.calls import calling
from firstword.rehearsal.stack import Stack

PATIENCE_S = 15.0
"""Seconds after which a caller has heard nothing."""
LISTENS_S = 0.5
"""Seconds that a caller stays after the first sound."""


async def heard(stack: Stack, *, room: str, agent_name: str, metadata: str, ahead_by: float | None = None) -> float:
    """Seconds from calling connect to the first audible frame; infinite for a caller who heard nothing.

    metadata: the job's. ahead_by: seconds that the agent comes before its caller; None: with them.
    """
    async with (
        api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
        calling(stack, rooms, room=room, agent_name=agent_name, metadata=metadata, ahead_by=ahead_by) as caller,
    ):
        await caller.connect()
        with contextlib.suppress(TimeoutError):
            seconds = await caller.hear(PATIENCE_S)
            await asyncio.sleep(LISTENS_S)
            return seconds
        return float("inf")
