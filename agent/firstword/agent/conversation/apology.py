"""What a caller hears when the conversation can't go on: one sentence that ships with the package, and needs no provider.

Called by `firstword.agent.call.ending` when LiveKit has closed the session for errors of STT, LLM or TTS; without it there would be silence.
"""

from __future__ import annotations

import asyncio

from livekit import rtc

from firstword.agent.audio.voice import Voice
from firstword.agent.greeting.greeting import shipped_audio

LISTENER_S = 3.0
"""Seconds for somebody to subscribe to a track that is published only for this."""


async def apologize(room: rtc.Room, voice: Voice | None) -> None:
    """Say "Sorry, I can't go on just now. Please call again later."; returns when it has been played.

    voice: the one that is published; None where it was the session's and has gone with it. Raises TimeoutError when nobody
    listens, and what LiveKit raises for a room that is gone.
    """
    speaking = voice or Voice(room)
    try:
        async with asyncio.timeout(LISTENER_S):
            if voice is None:
                await speaking.publish()
            await speaking.subscribed()
        async for frame in shipped_audio("sorry").play():
            await speaking.output.push(frame)
        await speaking.output.played()
    finally:
        if voice is None:
            await speaking.aclose()
