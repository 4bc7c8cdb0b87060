"""Text becomes sound, in an account's voice: the TTS, one of a session's components.

The only one that the worker's own process needs, for the greetings it makes ahead. The plugin is imported with the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from livekit import rtc
from livekit.agents import APIConnectionError, APIError

from firstword.agent.audio.provider_http import Judged, ProviderHTTP
from firstword.agent.audio.refusals import Refusals
from firstword.agent.settings import Settings

if TYPE_CHECKING:
    import aiohttp
    from livekit.plugins import deepgram

SAMPLE_RATE = 24_000
"""Hz of the agent's voice: what the TTS makes, what the room's track takes."""
FASTEST: Final = 30
"""Letters and digits a second that no voice is faster than.

Usual speech has 15 characters a second with blanks and stops, some 12 letters; the sentences that ship with the package have 9 and
10. Deepgram's fastest setting is 1.5 times the usual. Scripts of syllables have fewer letters a second.
"""

HELD_S: Final = 0.1
"""Seconds of audio that a speech must have before any of it is heard: a file's header, or an error of some words, has less."""


def shortest(text: str) -> float:
    """Returns the least seconds in which any voice can say the text. Shorter audio is not the whole text."""
    return sum(character.isalnum() for character in text) / FASTEST


class TooShort(APIError):
    """Raised where a provider's answer looks complete, but its audio is far too short for the text."""

    def __init__(self, seconds: float, text: str) -> None:
        super().__init__(f"expected {shortest(text):.2f} s of audio or more, not {seconds:.2f} s", retryable=False)


@dataclass(frozen=True)
class Synthesis:
    """Speaks for one session, or for one account after the other."""

    tts: deepgram.TTS
    http: ProviderHTTP

    @property
    def voice(self) -> str:
        """The voice that speaks now: the settings' in place of one that the provider has refused."""
        return self.http.accepted(self.tts.model)

    def speak_as(self, voice: str) -> None:
        """Which voice speaks from now on, unless the provider refuses it."""
        self.tts.update_options(model=voice)

    async def spoken(self, text: str, *, patience: float) -> AsyncIterator[rtc.AudioFrame]:
        """The text, frame by frame. Raises LiveKit's APIError: also where it is cut off, and TooShort at its end.

        The first `HELD_S` seconds come at once, so that nothing is heard of an answer that has no more. After the first frame
        none is waited for longer than `patience` seconds, then TimeoutError: the plugin waits for 30.
        """
        seconds, held = 0.0, list[rtc.AudioFrame]()
        async with self.tts.synthesize(text) as stream:
            request = None
            while True:
                try:
                    async with asyncio.timeout(None if request is None else patience):
                        part = await anext(stream)
                except StopAsyncIteration:
                    break
                # livekit-agents 1.8.9, tts/tts.py: after a cut it speaks the text anew, from its beginning
                if part.request_id != (request := request or part.request_id):
                    raise APIConnectionError("the speech was cut off")
                held.append(part.frame)
                seconds += part.frame.duration
                if seconds >= HELD_S:
                    for frame in held:
                        yield frame
                    held.clear()
        _check(seconds, text)
        for frame in held:
            yield frame

    async def recorded(self, text: str) -> list[rtc.AudioFrame]:
        """All of what `spoken` gives, for later: a speech that is cut off is begun anew. Raises as `spoken` does."""
        request, frames = None, list[rtc.AudioFrame]()
        async with self.tts.synthesize(text) as stream:
            async for part in stream:
                if part.request_id != request:
                    request, frames = part.request_id, []
                frames.append(part.frame)
        _check(sum(frame.duration for frame in frames), text)
        return frames

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self.tts.aclose()


def synthesis(settings: Settings, refusals: Refusals) -> Synthesis:
    """A new one, with the settings' voice. Opens no connection: that happens at its first use. On the main thread the first time."""
    from livekit.plugins import deepgram

    http = ProviderHTTP(Judged("voice", "model", lambda _: (settings.tts_voice,)), refusals)
    tts = deepgram.TTS(
        model=settings.tts_voice,
        api_key=settings.deepgram_api_key.get_secret_value(),
        base_url=f"{settings.deepgram_base_url}/speak",
        sample_rate=SAMPLE_RATE,
        http_session=cast("aiohttp.ClientSession", http),
    )
    return Synthesis(tts, http)


def _check(seconds: float, text: str) -> None:
    if seconds < shortest(text):
        raise TooShort(seconds, text)
