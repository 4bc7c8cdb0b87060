"""Makes another participant the caller, once, if the first has no microphone and the other has one.

From the caller's arrival on. A supervisor who is greeted as the caller, because nobody else was there, gives way
likewise.
"""

from __future__ import annotations

import asyncio
import logging

from livekit import rtc

from firstword.agent.call.call import Call
from firstword.agent.call.caller import Caller
from firstword.agent.call.role import is_caller

logger = logging.getLogger("firstword")

PATIENCE_S = 2.0
"""Seconds that the first caller's microphone may come later than another's."""


def watch_microphones(call: Call) -> None:
    """Begins to watch who publishes a microphone. If another participant has one and the caller has none, that one
    becomes the caller.
    """
    room = call.job.room

    def published(_: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        if _speaks_instead(call, participant):
            asyncio.get_running_loop().call_later(PATIENCE_S, look, participant.identity)

    def look(identity: str) -> None:
        participant = room.remote_participants.get(identity)
        if participant is not None and _speaks_instead(call, participant):
            room.off("track_published", published)
            _follow(call, participant)

    room.on("track_published", published)


def _speaks_instead(call: Call, participant: rtc.RemoteParticipant) -> bool:
    """Whether this participant has a microphone and the caller, who is there, has none."""
    presence = call.limits.presence
    caller = call.job.room.remote_participants.get(presence.caller.identity)
    if caller is None or caller.identity == participant.identity or not is_caller(participant):
        return False
    return _has_microphone(participant) and not _has_microphone(caller)


def _has_microphone(participant: rtc.RemoteParticipant) -> bool:
    publications = participant.track_publications.values()
    return any(each.source == rtc.TrackSource.SOURCE_MICROPHONE for each in publications)


def _follow(call: Call, participant: rtc.RemoteParticipant) -> None:
    """This participant is the caller from now on: heard, answered, and waited for."""
    logger.info("the session listens to another participant: the caller has no microphone")
    call.run.event("caller.followed")
    call.limits.presence.follow(Caller(participant, joined=None))
    if call.ear is not None:
        call.ear.listen_to(participant.identity)
    if call.session is not None:
        call.session.room_io.set_participant(participant.identity)
