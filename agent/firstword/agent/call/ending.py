"""How a call ends: what the caller is told, what becomes of the room, what is written, what is closed.

Called by `firstword.agent.entrypoint` when the start and when the job has ended, by a session that failed, and by the
assistant who ends the call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from aiohttp import ClientError
from livekit import api

from firstword.agent.accounts.model import SessionRow
from firstword.agent.accounts.store import StoreError
from firstword.agent.call.call import Call
from firstword.agent.call.limits import End
from firstword.agent.call.role import assists
from firstword.agent.conversation import console
from firstword.agent.conversation.apology import apologize
from firstword.agent.conversation.assistant import HangUp
from firstword.agent.process import start_metrics
from firstword.telemetry.guard import guarded
from firstword.telemetry.metrics import StartFigures

logger = logging.getLogger("firstword")

JOINED_WITHIN_S = 10.0
"""Seconds that a connect under way may take before the room is left to its own devices."""
FREED_WITHIN_S = 3.0
"""Seconds for LiveKit's server to delete the room, or to remove the caller."""


@guarded
def send_figures(call: Call) -> None:
    """Tell the worker how the start went, and how many spans were dropped."""
    start_metrics.send(StartFigures.of(call.run.record(), call.trace.context))
    start_metrics.send_dropped(call.process.exporting.newly_dropped())


def end(call: Call, why: str, *, sorry: bool = False) -> None:
    """The call must end: frees the room and ends the job. The first reason counts. sorry: the caller is told so first."""
    if call.ended is None:
        call.ended = why
        call.leaving = asyncio.create_task(_leave(call, sorry), name="leave")


def hang_up(call: Call) -> HangUp:
    """What the assistant ends this call with."""
    return partial(end, call, End.BY_ASSISTANT)


async def _leave(call: Call, sorry: bool) -> None:
    if call.joining is not None and not call.joining.done():  # it would leave a mute agent in the room
        await asyncio.wait({call.joining}, timeout=JOINED_WITHIN_S)
    if sorry and call.limits.caller_here:
        try:
            await apologize(call.job.room, call.voice, call.process.settings.apology, call.account.language)
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


def row_of(call: Call) -> SessionRow:
    """The session's row, as far as it is known by now."""
    return SessionRow(
        id=call.job.job.id, account=call.owner.id or None, started=call.began, flags=call.flags.variants()
    )


def sent_by_participants(call: Call) -> dict[str, int]:
    """What participants sent beside their voices, counted: packets, keys that did not count, answers they were refused."""
    keypad = call.conversation.keypad if call.conversation else None
    return {
        "data_packets": call.events.counts["data_received"],
        "keys_ignored": keypad.ignored if keypad else 0,
        "answers_refused": call.allowance.refused,
        "participants": call.conversation.others if call.conversation else 0,
    }


async def close(call: Call, reason: str) -> None:
    """The job ends: write how, close what the call opened. Its spans are exported when the process ends.

    reason: LiveKit's, which counts where neither we nor the room know better.
    """
    store = call.process.store
    ended = call.ended or call.limits.end or (End.HUNG_UP if call.limits.caller_left else reason)
    logger.info("the call ended: %s", ended)
    call.limits.lift()
    talk = call.conversation
    turns, errors = (talk.turns, talk.errors) if talk else (0, 0)
    row = replace(row_of(call), first_word=call.run.record().ttfw, ended=ended, turns=turns, errors=errors)
    if any((counts := sent_by_participants(call)).values()):
        logger.info("beside their voices participants sent something", extra=counts)
    async with call.closing:
        await _write(call, "row", store.record_session(row))
        last = talk and talk.last_session(call.now())
        if last and call.owner.id and call.remembers:
            await _write(call, "resumption data", store.save_last_session(call.owner.id, last))


async def _write(call: Call, what: str, writing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(call.process.settings.store_deadline):
            await writing
    except (StoreError, TimeoutError):
        logger.warning("the session's %s could not be written", what)
