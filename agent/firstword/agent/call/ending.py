"""How a call's start is performed and how a call ends: what the caller is told, what becomes of the room, what is
closed.

Called when the start and when the job has ended, by a session that failed, and by an assistant who ends the call.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from aiohttp import ClientError
from livekit import api

from firstword.agent.call import console
from firstword.agent.call.apology import apologize
from firstword.agent.call.call import Call
from firstword.agent.call.limits import End
from firstword.agent.call.role import assists
from firstword.telemetry.record import Outcome, Start
from firstword.telemetry.run import StartFailed

logger = logging.getLogger("firstword")

JOINED_WITHIN_S = 10.0
"""Seconds to wait for a connect under way before the room is left without it."""
FREED_WITHIN_S = 3.0
"""Seconds for LiveKit's server to delete the room, or to remove the caller."""


_ENDS = {
    Outcome.ABANDONED: End.HUNG_UP,
    Outcome.NO_CALLER: End.NO_CALLER,
    Outcome.TIMED_OUT: End.TIMED_OUT,
}
"""Why a call ends whose start was stopped."""


async def perform(call: Call) -> None:
    """Performs the call's start, deferred tasks included. If nobody was greeted, ends the call.

    The caller hears the apology if a required task failed or the start timed out.
    """
    call.limits.begin(partial(end, call))
    call.unheard.wait()
    try:
        start = await call.run.perform()
    except StartFailed as error:
        logger.error("the start failed in task %s", error.task, exc_info=error.__cause__)
        end(call, f"start failed: {error.task}", sorry=True)
    else:
        _performed(call, start)
    finally:
        call.unheard.heard()
        call.limits.lift_start()


def _performed(call: Call, start: Start) -> None:
    if start.outcome is Outcome.FIRST_WORD:
        logger.info("first word after %.3f s", start.ttfw or 0.0)
        return
    logger.info("no first word: %s", start.outcome)
    why = call.limits.end or _ENDS.get(start.outcome, "start failed")
    end(call, why, sorry=start.outcome is Outcome.TIMED_OUT)


def end(call: Call, why: str, *, sorry: bool = False) -> None:
    """Ends the call: frees the room and shuts the job down, in a task of its own. Only the first call counts, with its
    reason `why`.

    sorry: whether the caller hears the apology first.
    """
    if call.ended is None:
        call.ended = why
        call.leaving = asyncio.create_task(_leave(call, sorry), name="leave")


async def _leave(call: Call, sorry: bool) -> None:
    if call.joining is not None and not call.joining.done():  # it would leave a mute agent in the room
        await asyncio.wait({call.joining}, timeout=JOINED_WITHIN_S)
    if sorry and call.limits.caller_here:
        try:
            await apologize(call.job.room, call.voice, call.settings.apology, call.language)
        except Exception as error:  # gone or deaf: either way there is nothing more to be said
            logger.warning("the caller could not be told that the call ends: %s", type(error).__qualname__)
    await _free_room(call)
    call.job.shutdown(reason=call.ended or "")


async def _free_room(call: Call) -> None:
    """Deletes the room if nobody but the caller, agents and helpers is in it; else the caller has to go, others stay."""
    room = call.job.room
    if console.here() or not room.isconnected():
        return
    caller = call.limits.presence.caller.identity if call.limits.caller_here else None
    others = [each for each in room.remote_participants.values() if each.identity != caller and not assists(each)]
    service = call.job.api.room
    try:
        async with asyncio.timeout(FREED_WITHIN_S):
            if not others:
                await service.delete_room(api.DeleteRoomRequest(room=room.name))
            elif caller is not None:
                await service.remove_participant(api.RoomParticipantIdentity(room=room.name, identity=caller))
    except (TimeoutError, OSError, ClientError, api.TwirpError) as error:
        logger.warning("the room could not be closed for the caller: %s", type(error).__qualname__)


def closes(call: Call, reason: str) -> str:
    """Stops all limits of the call when its job ends. Returns the reason why it ended.

    The caller of this function then closes `call.closing`. reason: LiveKit's, used if neither we nor the room know
    better.
    """
    ended = call.ended or call.limits.end or (End.HUNG_UP if call.limits.caller_left else reason)
    logger.info("the call ended: %s", ended)
    call.limits.lift()
    return ended
