"""What a conversation is made of: speech to text, language model, text to speech, voice activity detection.

Made by `firstword.agent.parts` under the plan's `components` task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from livekit.agents import AgentSession, TurnHandlingOptions, inference, llm, stt, tts

from firstword.agent.accounts.model import GreetingFields
from firstword.agent.audio.speaker import Speaker

INTERRUPTIBLE_AFTER = 0.5
"""Seconds of the greeting after which the caller can interrupt it."""


@dataclass(frozen=True)
class Components:
    """STT, LLM, TTS and VAD of one session. None of them holds state of another session.

    A realtime model is `llm`, and takes the place of the other two.
    """

    stt: stt.STT[Any] | None
    llm: llm.LLM[Any] | llm.RealtimeModel
    tts: tts.TTS[Any] | None
    speaker: Speaker
    """What says the greeting: with the TTS, or with the realtime model."""
    vad: inference.VAD
    listen_in: Callable[[str], object]
    """Sets STT to a language (BCP 47)."""
    turns_end_by: Literal["stt", "vad"] | None
    """What hears that the caller has finished; None: the realtime model."""

    def fit(self, account: GreetingFields) -> None:
        """Sets STT to the account's language and the voice to its voice, if it names one. A refused one is replaced
        later.
        """
        self.listen_in(account.language)
        if account.voice:
            self.speaker.speak_as(account.voice)

    async def aclose(self) -> None:
        """Closes the connections to the providers."""
        if self.stt is not None:
            await self.stt.aclose()
        await self.llm.aclose()
        if self.tts is not None:
            await self.tts.aclose()


def session_of(components: Components, *, last_transcript: float = 2.0) -> AgentSession[Any]:
    """Returns a LiveKit session with these components, not started yet.

    last_transcript: seconds that closing it waits for what the caller said last; 2 is LiveKit's own.
    """
    turns: TurnHandlingOptions = {
        "turn_detection": components.turns_end_by,
        "interruption": {"mode": "vad", "min_duration": 0.3},
    }
    return AgentSession(
        **_given(stt=components.stt, tts=components.tts),
        llm=components.llm,
        vad=components.vad,
        turn_handling=turns,
        aec_warmup_duration=INTERRUPTIBLE_AFTER,
        session_close_transcript_timeout=last_transcript,
    )


def _given(**engines: object) -> dict[str, Any]:
    """Those that are there: LiveKit's types have no None for one that is not."""
    return {name: engine for name, engine in engines.items() if engine is not None}
