"""Joins the room, so that whatever happens in it is kept and heard from the first moment on.

Under the plan's `room` task.
"""

from __future__ import annotations

import asyncio
from typing import Any

from livekit import rtc
from livekit.agents import AutoSubscribe

from firstword.agent.call import console
from firstword.agent.call.call import Call
from firstword.agent.call.caller import server_ahead
from firstword.agent.call.early_messages import EarlyMessages
from firstword.agent.call.hearing import hear, open_ear


async def join(call: Call) -> rtc.Room:
    """Joins the job's room, unless the agent has joined it already, and returns it. Raises what LiveKit's connect
    raises.

    Either way, `call.messages` keeps from now on what participants send as streams and RPC calls.
    """
    room = call.job.room
    call.messages = EarlyMessages(call.settings.kept_topics, call.settings.kept_methods)
    call.messages.keep_streams(room)
    open_ear(call)
    if room.isconnected() and not console.here():  # whose mocks are always connected
        return _joined(call)
    connecting = call.run.clock()
    call.joining = asyncio.ensure_future(call.job.connect(**_connect_options(call)))
    await asyncio.shield(call.joining)
    call.server_ahead = server_ahead(room, connecting)
    return _joined(call)


def _joined(call: Call) -> rtc.Room:
    room = call.job.room
    if call.messages is not None:
        call.messages.keep_calls(room.local_participant)
    if not call.light:
        hear(call)
    call.limits.connected()
    return room


def _connect_options(call: Call) -> dict[str, Any]:
    """How the room is joined: as LiveKit does, or with nothing subscribed and one peer connection."""
    if not call.light:
        return {}
    return {"auto_subscribe": AutoSubscribe.SUBSCRIBE_NONE, "single_peer_connection": True}
