"""How the agent joins the room, and whose audio it subscribes to there.

Under the plan's `room` and `session` tasks.
"""

from __future__ import annotations

from typing import Any

from livekit import rtc
from livekit.agents import AutoSubscribe

from firstword.agent.call.call import Call
from firstword.agent.call.caller import Caller, server_ahead
from firstword.agent.conversation.conversation import COUNTED_EVENTS, ROOM_EVENTS
from firstword.agent.flags.improvements import Improvement


async def join(call: Call) -> rtc.Room:
    """Join the job's room; what happens in it is watched before it can happen. Raises what LiveKit's connect raises."""
    room = call.job.room
    call.events.watch(room, ROOM_EVENTS)
    call.events.count(room, COUNTED_EVENTS)
    connecting = call.run.clock()
    await call.job.connect(**_connect_options(call))
    call.server_ahead = server_ahead(room, connecting)
    call.limits.connected()
    return room


def subscribe(call: Call, caller: Caller) -> None:
    """Subscribe to the caller's audio, now and whenever they publish it; with the default connection that is done."""
    if Improvement.LIGHT_CONNECT not in call.flags:
        return

    def published(publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == caller.identity and publication.kind == rtc.TrackKind.KIND_AUDIO:
            publication.set_subscribed(True)

    call.job.room.on("track_published", published)
    if (here := call.job.room.remote_participants.get(caller.identity)) is not None:
        for publication in here.track_publications.values():
            published(publication, here)


def _connect_options(call: Call) -> dict[str, Any]:
    """How the room is joined: as LiveKit does, or with nothing subscribed and one peer connection."""
    if Improvement.LIGHT_CONNECT not in call.flags:
        return {}
    return {"auto_subscribe": AutoSubscribe.SUBSCRIBE_NONE, "single_peer_connection": True}
