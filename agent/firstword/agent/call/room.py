"""How the agent joins the room: what happens there is watched, kept and heard before it can happen.

Under the plan's `room` task.
"""

from __future__ import annotations

import asyncio
from typing import Any

from livekit import rtc
from livekit.agents import AutoSubscribe

from firstword.agent.call.call import Call
from firstword.agent.call.caller import server_ahead
from firstword.agent.call.early_messages import EarlyMessages
from firstword.agent.call.hearing import hear, open_ear
from firstword.agent.conversation.conversation import COUNTED_EVENTS, ROOM_EVENTS
from firstword.agent.flags.improvements import Improvement


async def join(call: Call) -> rtc.Room:
    """Join the job's room; what happens in it is watched before it can happen. Raises what LiveKit's connect raises."""
    room = call.job.room
    call.events.watch(room, ROOM_EVENTS)
    call.events.count(room, COUNTED_EVENTS)
    settings = call.process.settings
    call.messages = EarlyMessages(settings.kept_topics, settings.kept_methods)
    call.messages.keep_streams(room)
    open_ear(call)
    connecting = call.run.clock()
    call.joining = asyncio.ensure_future(call.job.connect(**_connect_options(call)))
    await asyncio.shield(call.joining)
    call.messages.keep_calls(room.local_participant)
    call.server_ahead = server_ahead(room, connecting)
    if Improvement.LIGHT_CONNECT not in call.flags:
        hear(call)
    call.limits.connected()
    return room


def _connect_options(call: Call) -> dict[str, Any]:
    """How the room is joined: as LiveKit does, or with nothing subscribed and one peer connection."""
    if Improvement.LIGHT_CONNECT not in call.flags:
        return {}
    return {"auto_subscribe": AutoSubscribe.SUBSCRIBE_NONE, "single_peer_connection": True}
