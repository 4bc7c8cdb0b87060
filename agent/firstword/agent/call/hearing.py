"""Lets the agent hear the caller before its session exists: whoever may be the caller is listened to at once.

Under the plan's `room` and `voice` tasks; the session takes over the ear, with all that it has not read yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from livekit import rtc

from firstword.agent import livekit_private
from firstword.agent.call import console
from firstword.agent.call.call import Call
from firstword.agent.call.caller import by_arrival
from firstword.agent.call.role import is_caller

if TYPE_CHECKING or livekit_private.audio_is_known():
    from firstword.agent.audio.early_input import EarlyInput


def open_ear(call: Call) -> None:
    """Makes the call's ear before the connect: a client may send what it recorded as soon as the agent is there.

    Makes none in a console, which has its own, if nothing is to be heard, or if LiveKit's private input has moved.
    """
    if console.here() or call.audio_input is None or not livekit_private.audio_is_known():
        return
    call.ear = EarlyInput(call.job.room, call.audio_input)
    call.at_end(call.ear.aclose)


def hear(call: Call) -> None:
    """Begins to listen to the first participant who may be the caller. `EarlyInput.listen_to` changes that once the
    caller is known.
    """
    ear, room = call.ear, call.job.room
    if ear is None:
        return

    def came(participant: rtc.RemoteParticipant) -> None:
        if ear.heard is None and is_caller(participant):
            ear.listen_to(participant.identity)

    room.on("participant_connected", came)
    for participant in by_arrival(room):
        came(participant)
