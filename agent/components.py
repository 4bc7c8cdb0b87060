"""What a conversation is made of: speech to text, language model, text to speech, voice activity detection.

Built by the plan's `components` task. The plugins are the providers' own; where they connect to is in the settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, APIConnectionError, inference
from livekit.plugins import deepgram, openai

from agent.accounts.model import GreetingFields
from agent.settings import Settings

SAMPLE_RATE = 24_000
"""Hz of the agent's voice: what the TTS makes, what the room's track takes."""

INTERRUPTIBLE_AFTER = 0.5
"""Seconds of the greeting after which the caller can interrupt it."""


@dataclass(frozen=True)
class Components:
    """The four parts of one session; none holds state of another session."""

    stt: deepgram.STT
    llm: openai.LLM
    tts: deepgram.TTS
    vad: inference.VAD

    def fit(self, account: GreetingFields) -> None:
        """Listen in the account's language and speak with its voice, where it names one."""
        self.stt.update_options(language=account.language)
        if account.voice:
            self.tts.update_options(model=account.voice)

    async def spoken(self, text: str, *, patience: float) -> AsyncIterator[rtc.AudioFrame]:
        """The text in the voice that `fit` chose, frame by frame. Raises LiveKit's APIError, also where it is cut off.

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
        """Close the providers' connections."""
        await self.stt.aclose()
        await self.llm.aclose()
        await self.tts.aclose()


def build(settings: Settings) -> Components:
    """New components. Opens no connection: that happens at their first use."""
    deepgram_key = settings.deepgram_api_key.get_secret_value()
    return Components(
        stt=deepgram.STT(
            model=settings.stt_model, api_key=deepgram_key, base_url=f"{settings.deepgram_base_url}/listen"
        ),
        llm=openai.LLM(
            model=settings.llm_model,
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=settings.openai_base_url,
        ),
        tts=deepgram.TTS(
            model=settings.tts_voice,
            api_key=deepgram_key,
            base_url=f"{settings.deepgram_base_url}/speak",
            sample_rate=SAMPLE_RATE,
        ),
        # LiveKit's own build of Silero: its weights are in the forkserver, so that a new one costs nothing
        vad=inference.VAD(model="silero"),
    )


def session_of(components: Components, *, last_transcript: float = 2.0) -> AgentSession[Any]:
    """LiveKit's session of these components; not started.

    last_transcript: seconds that its end waits for what the caller said last; 2 is LiveKit's own.
    """
    return AgentSession(
        stt=components.stt,
        llm=components.llm,
        tts=components.tts,
        vad=components.vad,
        turn_handling={"turn_detection": "stt", "interruption": {"mode": "vad", "min_duration": 0.3}},
        aec_warmup_duration=INTERRUPTIBLE_AFTER,
        session_close_transcript_timeout=last_transcript,
    )
