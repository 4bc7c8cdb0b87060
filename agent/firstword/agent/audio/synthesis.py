"""Text becomes sound, in an account's voice: the TTS, one of a session's components.

The only one that the worker's own process needs, for the greetings it makes ahead. The plugin is imported with the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livekit import rtc
from livekit.agents import APIConnectionError

from firstword.agent.settings import Settings

if TYPE_CHECKING:
    from livekit.plugins import deepgram

SAMPLE_RATE = 24_000
"""Hz of the agent's voice: what the TTS makes, what the room's track takes."""


@dataclass(frozen=True)
class Synthesis:
    """Speaks for one session, or for one account after the other."""

    tts: deepgram.TTS

    def speak_as(self, voice: str) -> None:
        """Which voice speaks from now on."""
        self.tts.update_options(model=voice)

    async def spoken(self, text: str, *, patience: float) -> AsyncIterator[rtc.AudioFrame]:
        """The text, frame by frame. Raises LiveKit's APIError, also where it is cut off.

        After the first frame none is waited for longer than `patience` seconds, then TimeoutError: the plugin waits for 30.
        """
        async with self.tts.synthesize(text) as stream:
            request = None
            while True:
                try:
                    async with asyncio.timeout(None if request is None else patience):
                        part = await anext(stream)
                except StopAsyncIteration:
                    return
                # livekit-agents 1.8.9, tts/tts.py: after a cut it speaks the text anew, from its beginning
                if part.request_id != (request := request or part.request_id):
                    raise APIConnectionError("the speech was cut off")
                yield part.frame

    async def recorded(self, text: str) -> list[rtc.AudioFrame]:
        """All of what `spoken` gives, for later: a speech that is cut off is begun anew. Raises LiveKit's APIError."""
        request, frames = None, list[rtc.AudioFrame]()
        async with self.tts.synthesize(text) as stream:
            async for part in stream:
                if part.request_id != request:
                    request, frames = part.request_id, []
                frames.append(part.frame)
        return frames

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self.tts.aclose()


def synthesis(settings: Settings) -> Synthesis:
    """A new one, with the settings' voice. Opens no connection: that happens at its first use. On the main thread the first time."""
    from livekit.plugins import deepgram

    return Synthesis(
        deepgram.TTS(
            model=settings.tts_voice,
            api_key=settings.deepgram_api_key.get_secret_value(),
            base_url=f"{settings.deepgram_base_url}/speak",
            sample_rate=SAMPLE_RATE,
        )
    )
