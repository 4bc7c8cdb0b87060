"""Makes the agent's voice while the room connects, and publishes it right after, before anybody comes.

Under the plan's `track` and `voice` tasks.
"""

from __future__ import annotations

from firstword.agent.audio.voice import Voice
from firstword.agent.call.call import Call
from firstword.agent.call.hearing import hear
from firstword.agent.call.tcp_nodelay import send_at_once


def new_voice(call: Call) -> Voice:
    """Makes the call's voice (an audio track that is not published yet), stores it in the call and returns it."""
    call.voice = Voice(call.job.room, call.audio_output)
    call.at_end(call.voice.aclose)
    return call.voice


async def publish_voice(call: Call, voice: Voice) -> Voice:
    """Publishes the voice and returns it. With a light connect, also begins to listen to whoever may be the caller.

    Raises what LiveKit's publishing raises.
    """
    send_at_once()
    await voice.publish()
    if call.light:
        hear(call)
    return voice
