"""The agent hears the caller before its session is there: whoever may be the caller is listened to at once.

Under the plan's `room` and `voice` tasks; the session takes over the ear, with all that it has not read yet.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from livekit import rtc

from firstword.agent import livekit_private
from firstword.agent.call.call import Call
from firstword.agent.call.caller import by_arrival
from firstword.agent.call.role import is_caller
from firstword.agent.conversation import console

if TYPE_CHECKING or livekit_private.audio_is_known():
    from firstword.agent.audio.early_input import EarlyInput

logger = logging.getLogger("firstword")


def open_ear(call: Call) -> None:
    """Make the ear, before the connect: a client may send what it recorded as soon as the agent is there.

    A console has its own. Where LiveKit's private input has moved, the session makes one later.
    """
    if console.here() or not livekit_private.audio_is_known():
        return
    wanted = call.process.settings.noise_cancellation == "bvc"
    call.ear = EarlyInput(call.job.room, noise_cancellation=_filter if wanted else None)
    call.at_end(call.ear.aclose)


def hear(call: Call) -> None:
    """Listen to the first who may be the caller, from now on; `EarlyInput.listen_to` says who it is when that is known."""
    ear, room = call.ear, call.job.room
    if ear is None:
        return

    def came(participant: rtc.RemoteParticipant) -> None:
        if ear.heard is None and is_caller(participant):
            ear.listen_to(participant.identity)

    room.on("participant_connected", came)
    for participant in by_arrival(room):
        came(participant)


def _filter(_: object) -> Any:
    """Noise cancellation for one track. Without it a caller is heard all the same."""
    try:
        return livekit_private.noise_cancellation()
    except Exception as error:
        logger.warning("the caller is heard without noise cancellation (%s)", type(error).__qualname__)
        return None
