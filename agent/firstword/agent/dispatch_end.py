"""Tells LiveKit that an agent ended its call by itself, so that `firstword rescue` calls no other one to the caller.

It deletes the dispatch that the job came from. Only who has LiveKit's key can do that, so no participant can fake it. A
process that dies deletes nothing: its dispatch stays, and nobody answers for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiohttp import ClientError
from livekit import api, rtc
from livekit.agents import JobContext
from livekit.protocol import agent

from firstword.agent.livekit_private import NOT_BY_ITSELF

logger = logging.getLogger("firstword")

DELETED_WITHIN_S: Final = 2.0
"""Seconds for LiveKit's server to answer."""
_NO_ROOM: Final = frozenset({rtc.DisconnectReason.ROOM_CLOSED, rtc.DisconnectReason.ROOM_DELETED})
"""Why an agent leaves a room of which nothing is left, its dispatches included."""


def delete_dispatch_at_end(ctx: JobContext) -> None:
    """Deletes the job's dispatch when the job ends, if it ends on purpose.

    `speak_first` and the shipped worker do so themselves. Any other agent calls it once, where its job begins. A job
    does not end on purpose if its entrypoint raises, its worker ends before it, or the connection to the room is lost.
    Does nothing for a job of one participant: others share its dispatch.
    """
    dispatch, room = ctx.job.dispatch_id, ctx.job.room.name
    if not dispatch or ctx.job.type != agent.JobType.JT_ROOM:  # a console's job has no dispatch
        return
    left: rtc.DisconnectReason.ValueType | None = None

    def disconnected(reason: rtc.DisconnectReason.ValueType) -> None:
        nonlocal left
        left = reason if left is None else left

    ctx.room.on("disconnected", disconnected)

    async def delete(reason: str) -> None:  # LiveKit takes functions and methods only
        if left in _NO_ROOM:
            return
        put_out = left == rtc.DisconnectReason.PARTICIPANT_REMOVED
        if reason in NOT_BY_ITSELF and not put_out:
            logger.info("the dispatch stays, since the call did not end by itself: %s", reason)
            return
        try:
            async with asyncio.timeout(DELETED_WITHIN_S):
                await ctx.api.agent_dispatch.delete_dispatch(dispatch, room)
        except api.TwirpError as error:
            if error.code != api.TwirpErrorCode.NOT_FOUND:
                logger.warning("the dispatch could not be deleted: %s", error.code)
        except (TimeoutError, OSError, ClientError) as error:
            logger.warning("the dispatch could not be deleted: %s", type(error).__qualname__)

    ctx.add_shutdown_callback(delete)
