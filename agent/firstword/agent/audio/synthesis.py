"""The shipped TTS, which speaks in an account's voice: one of a session's components.

The only one that the worker's own process needs, for the greetings it makes ahead. The plugin is imported with the first.
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

    def spoken(self, text: str, *, patience: float) -> AsyncIterator[rtc.AudioFrame]:
        """The text, frame by frame, as `firstword.agent.audio.speaking.spoken` has it."""
        return spoken(self.tts, text, patience=patience)

    async def recorded(self, text: str) -> list[rtc.AudioFrame]:
        """All of it, for later."""
        return await recorded(self.tts, text)

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
