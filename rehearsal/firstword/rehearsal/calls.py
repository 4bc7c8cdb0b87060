"""Runs a call from its invitation to its end: the agent dispatched by the caller's token or ahead of them, the room
gone afterwards.

Above callers.py, which knows the caller alone: rehearsals and benchmarks call an agent through here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from livekit import api

from firstword.rehearsal.callers import RehearsalCaller, join_token
from firstword.rehearsal.stack import Stack


@contextlib.asynccontextmanager
async def calling(
    stack: Stack,
    rooms: api.LiveKitAPI,
    *,
    room: str,
    agent_name: str,
    metadata: str = "",
    ahead_by: float | None = None,
    record: bool = False,
) -> AsyncGenerator[RehearsalCaller]:
    """Gives a caller of that agent in a `room` of their own, who has not connected yet. On exit the caller hangs up,
    and the room is deleted.

    `metadata` is the job's. The agent is dispatched by the caller's token (`join`), or `ahead_by` seconds before they
    have one (`ahead`).
    """
    if ahead_by is None:
        token = join_token(stack, room=room, identity="caller", agent_name=agent_name, metadata=metadata)
    else:
        agent = api.RoomAgentDispatch(agent_name=agent_name, metadata=metadata)
        await rooms.room.create_room(api.CreateRoomRequest(name=room, agents=[agent]))
        await asyncio.sleep(ahead_by)
        token = join_token(stack, room=room, identity="caller")
    caller = RehearsalCaller(stack.livekit_url, token, record=record)
    try:
        yield caller
    finally:
        await caller.leave()
        with contextlib.suppress(api.TwirpError):  # it may be gone already
            await rooms.room.delete_room(api.DeleteRoomRequest(room=room))
