"""The shipped TTS, which can speak in an account's voice: a `Speaker`, and one of a session's components.

The only component that the worker's own process needs, for the greetings it makes ahead. The plugin is imported when
the first is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from livekit import rtc

from firstword.agent.audio.provider_http import Judged, ProviderHTTP
from firstword.agent.audio.refusals import Refusals
from firstword.agent.audio.speaking import SAMPLE_RATE, recorded, spoken
from firstword.agent.settings import Settings

if TYPE_CHECKING:
    import aiohttp
    from livekit.plugins import deepgram


@dataclass(frozen=True)
class Synthesis:
    """Deepgram's TTS for one session, or for one account after the other, with a replacement for a voice that the
    provider refuses.
    """

    tts: deepgram.TTS
    http: ProviderHTTP
    usual: str
    """The settings' voice."""

    @property
    def voice(self) -> str:
        """Returns the name of the voice that speaks now: the settings' voice if the provider has refused the chosen
        one.
        """
        return self.http.accepted(self.tts.model)

    def speak_as(self, voice: str) -> None:
        """Chooses the voice that speaks from now on; empty: the settings' voice."""
        self.tts.update_options(model=voice or self.usual)

    def spoken(self, text: str, *, patience: float) -> AsyncIterator[rtc.AudioFrame]:
        """Yields the text's audio frame by frame, as `firstword.agent.audio.speaking.spoken` does."""
        return spoken(self.tts, text, patience=patience)

    async def recorded(self, text: str) -> list[rtc.AudioFrame]:
        """Waits until the whole text has been spoken and returns its frames, for later use. Raises LiveKit's APIError."""
        return await recorded(self.tts, text)

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self.tts.aclose()


def synthesis(settings: Settings, refusals: Refusals) -> Synthesis:
    """Returns a new Synthesis with the settings' voice. Opens no connection before its first use.

    Call it on the main thread the first time, since it imports LiveKit's plugin.
    """
    from livekit.plugins import deepgram

    http = ProviderHTTP(Judged("voice", "model", lambda _: (settings.tts_voice,)), refusals)
    tts = deepgram.TTS(
        model=settings.tts_voice,
        api_key=settings.deepgram_api_key.get_secret_value(),
        base_url=f"{settings.deepgram_base_url}/speak",
        sample_rate=SAMPLE_RATE,
        http_session=cast("aiohttp.ClientSession", http),
    )
    return Synthesis(tts, http, settings.tts_voice)
