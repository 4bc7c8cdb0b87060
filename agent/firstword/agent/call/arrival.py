"""Waits for the caller, records on the trace how they arrived, and finds out whether it is they who listen.

Under the plan's `caller` and `participant` tasks; `firstword.agent.call.caller` finds the caller in the room.
"""

from __future__ import annotations

import asyncio
import logging

from livekit import rtc

from firstword.agent.audio.voice import Voice
from firstword.agent.call.call import Call
from firstword.agent.call.caller import Caller, may_be_listening, until_only_others
from firstword.agent.call.role import is_known
from firstword.agent.call.second_caller import watch_microphones
from firstword.telemetry.run import waited_for
from firstword.telemetry.vocabulary import PARTICIPANT_KIND

logger = logging.getLogger("firstword")


async def until_caller(call: Call, voice: Voice | None) -> None:
    """Waits until a caller is there: the first participant, or whoever subscribes to the voice and may be the caller.

    The start's time limit also holds for a caller who has come but does not subscribe.
    """
    arriving = asyncio.ensure_future(arrival(call))
    try:
        if voice is not None:
            await voice.subscribed()
            waited_for(call.run.clock())
        if voice is None or not may_be_listening(call.job.room):
            waited_for(await arriving)
    finally:
        arriving.cancel()


async def announced_caller(call: Call) -> Caller:
    """Returns the caller. Waits until LiveKit has announced them, which may be after they subscribed to the voice.

    From now on the call also watches who publishes a microphone.
    """
    if not call.caller.done():
        waited_for(await arrival(call))
    watch_microphones(call)
    return call.caller.result()


async def arrival(call: Call) -> int:
    """Waits for the call's caller. Returns when they joined, ns on the run's clock."""
    return _arrived(call, await call.callers.first())


async def listener(call: Call) -> Caller | None:
    """Finds out who subscribed to the voice. Returns the caller, or None as soon as all announced participants are no
    callers.
    """
    others = asyncio.ensure_future(until_only_others(call.job.room))
    try:
        await asyncio.wait({call.caller, others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        others.cancel()
    return call.caller.result() if call.caller.done() else None


def _arrived(call: Call, caller: Caller) -> int:
    call.limits.caller_arrived(caller)
    kind = caller.participant.kind
    if not is_known(kind):
        logger.warning("the caller is of a kind that LiveKit's agents do not expect: %d", kind)
    call.run.attributes[PARTICIPANT_KIND] = (
        rtc.ParticipantKind.Name(kind) if kind in rtc.ParticipantKind.values() else str(kind)
    )
    call.on_arrival(caller)
    if call.ear is not None:
        call.ear.listen_to(caller.identity)
    call.caller.set_result(caller)
    return call.run.caller_joined(caller.joined or call.run.clock())
