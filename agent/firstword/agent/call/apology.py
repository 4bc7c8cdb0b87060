"""Plays an apology when a call can't go on: one sentence that ships with the package, and needs no provider.

Called by `firstword.agent.call.ending` when a start fails or LiveKit's session does; without it there would be silence.
"""

from __future__ import annotations

import asyncio
import logging

from livekit import rtc
from livekit.agents.utils.audio import audio_frames_from_file

from firstword.agent import livekit_private
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.audio.voice import Voice
from firstword.agent.greeting.greeting import shipped_apology

logger = logging.getLogger("firstword")

TRANSPORT_S = 0.3
"""Seconds from a track's subscription until its first sample is heard, and from the last sample until that one is."""

LISTENER_S = 3.0
"""Seconds for somebody to subscribe to a track that is published only for the apology."""


async def apologize(room: rtc.Room, voice: Voice | None, file: str | None, language: str) -> None:
    """Plays "Sorry, I can't go on just now. Please call again later."; returns when it has been played.

    voice: the track that is published; None if it was the session's and ended with it. file: a sound to play instead,
    `{language}` in it stands for the caller's. Raises TimeoutError if nobody listens, and what LiveKit raises for a
    room that is gone. Without LiveKit's private output there is no track to play it on; then it only logs a warning.
    """
    if voice is None and not livekit_private.audio_is_known():
        logger.warning(
            "the apology is not said; possible cause: this version of livekit-agents has another audio output"
        )
        return
    speaking = voice or Voice(room)
    try:
        async with asyncio.timeout(LISTENER_S):
            if voice is None:
                await speaking.publish()
            await speaking.subscribed()
            if voice is None:
                await asyncio.sleep(TRANSPORT_S)
        if file is None or not await _played(speaking, file.replace("{language}", language)):
            async for frame in shipped_apology().play():
                await speaking.output.push(frame)
        await speaking.output.played()
        await asyncio.sleep(TRANSPORT_S)
    finally:
        if voice is None:
            await speaking.aclose()


async def _played(voice: Voice, file: str) -> bool:
    """Plays a sound file of any format; False where nothing of it could be played."""
    begun = False
    try:
        async for frame in audio_frames_from_file(file, sample_rate=SAMPLE_RATE):
            await voice.output.push(frame)
            begun = True
    except Exception as error:
        logger.warning("FIRSTWORD_APOLOGY can't be played (%s)", type(error).__qualname__)
    return begun
