"""The agent's voice is there before anybody: made while the room connects, published right after it.

Under the plan's `track` and `voice` tasks.
"""

from __future__ import annotations

from firstword.agent.audio.voice import Voice
from firstword.agent.call.call import Call
from firstword.agent.call.hearing import hear
from firstword.agent.call.tcp_nodelay import send_at_once


def new_voice(call: Call) -> Voice:
    """The call's voice, which nobody hears yet."""
    call.voice = Voice(call.job.room, call.audio_output)
    call.at_end(call.voice.aclose)
    return call.voice


async def publish_voice(call: Call, voice: Voice) -> Voice:
    """Publish it before anybody is there, and listen to whoever may be the caller. Raises what LiveKit's publishing raises."""
    send_at_once()
    await voice.publish()
    if call.light:
        hear(call)
    return voice
