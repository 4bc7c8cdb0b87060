"""Builds what a conversation is made of: speech to text, language model, text to speech, voice activity detection.

Under the plan's `components` task. The plugins are the providers' own; where they connect to is in the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from livekit.agents import AgentSession, inference
from livekit.plugins import deepgram, openai

from firstword.agent.accounts.model import GENERIC, GreetingFields
from firstword.agent.audio.provider_http import Judged, ProviderHTTP
from firstword.agent.audio.refusals import Refusals
from firstword.agent.audio.synthesis import Synthesis, synthesis
from firstword.agent.settings import Settings

if TYPE_CHECKING:
    import aiohttp

INTERRUPTIBLE_AFTER = 0.5
"""Seconds of the greeting after which the caller can interrupt it."""


@dataclass(frozen=True)
class Components:
    """STT, LLM, TTS and VAD of one session. None of them holds state of another session."""

    stt: deepgram.STT
    llm: openai.LLM
    synthesis: Synthesis
    vad: inference.VAD

    def fit(self, account: GreetingFields) -> None:
        """Sets STT to the account's language and TTS to its voice, if it names one. A refused one is replaced later."""
        self.stt.update_options(language=account.language)
        if account.voice:
            self.synthesis.speak_as(account.voice)

    async def aclose(self) -> None:
        """Closes the connections to the providers."""
        await self.stt.aclose()
        await self.llm.aclose()
        await self.synthesis.aclose()


def build(settings: Settings, refusals: Refusals) -> Components:
    """Returns new components. They open no connection before their first use. refusals: what providers refused of
    accounts.
    """
    http = ProviderHTTP(Judged("language", "language", _less_special), refusals)
    return Components(
        stt=deepgram.STT(
            model=settings.stt_model,
            api_key=settings.deepgram_api_key.get_secret_value(),
            base_url=f"{settings.deepgram_base_url}/listen",
            http_session=cast("aiohttp.ClientSession", http),
        ),
        llm=openai.LLM(
            model=settings.llm_model,
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=settings.openai_base_url,
        ),
        synthesis=synthesis(settings, refusals),
        # LiveKit's own build of Silero: its weights are in the forkserver, so that a new one costs nothing
        vad=inference.VAD(model="silero"),
    )


def session_of(components: Components, *, last_transcript: float = 2.0) -> AgentSession[Any]:
    """Returns a LiveKit session with these components, not started yet.

    last_transcript: seconds that closing it waits for what the caller said last; 2 is LiveKit's own.
    """
    return AgentSession(
        stt=components.stt,
        llm=components.llm,
        tts=components.synthesis.tts,
        vad=components.vad,
        turn_handling={"turn_detection": "stt", "interruption": {"mode": "vad", "min_duration": 0.3}},
        aec_warmup_duration=INTERRUPTIBLE_AFTER,
        session_close_transcript_timeout=last_transcript,
    )


def _less_special(language: str) -> tuple[str, ...]:
    """What to listen in where a language (BCP 47) is refused: `de` for `de-AT`, then that of callers whom nobody knows."""
    return language.partition("-")[0], GENERIC.language
