"""A fake realtime model for a LiveKit session under test: it speaks by itself, as a tone, and opens no connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import numpy as np
from livekit import rtc
from livekit.agents import NOT_GIVEN, NotGivenOr, llm

from firstword.agent.greeting.session_recorder import VERBATIM

_RATE = 24_000
_PEAK = 12_000


class FakeRealtimeModel(llm.RealtimeModel):
    """A fake realtime model that says `answer` or, without one, what it is told to say.

    first_audio: seconds until it speaks. character: seconds of audio for each character. requests: the instructions of
    each request. contexts: the chat context that each session was last given.
    """

    def __init__(self, answer: str | None = None, *, first_audio: float = 0.300, character: float = 0.060) -> None:
        super().__init__(
            capabilities=llm.RealtimeCapabilities(
                message_truncation=False,
                turn_detection=False,
                user_transcription=False,
                auto_tool_reply_generation=False,
                audio_output=True,
                manual_function_calls=False,
                mutable_chat_context=True,
                mutable_instructions=True,
                mutable_tools=True,
            )
        )
        self.answer, self.first_audio, self.character = answer, first_audio, character
        self.requests: list[str] = []
        self.contexts: list[llm.ChatContext] = []

    def session(self, *, turn_detection_disabled: bool = False) -> llm.RealtimeSession[Any]:
        """Returns a new session of the model."""
        return _Speaking(self)

    async def aclose(self) -> None:
        """Does nothing, as no connection is open."""


class _Speaking(llm.RealtimeSession[Any]):
    def __init__(self, of: FakeRealtimeModel) -> None:
        super().__init__(of)
        self._of = of
        self._number = len(of.contexts)
        of.contexts.append(llm.ChatContext.empty())

    @property
    def chat_ctx(self) -> llm.ChatContext:
        return self._of.contexts[self._number]

    @property
    def tools(self) -> llm.ToolContext:
        return llm.ToolContext.empty()

    async def update_instructions(self, instructions: str) -> None: ...

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext) -> None:
        self._of.contexts[self._number] = chat_ctx

    async def update_tools(self, tools: list[llm.Tool]) -> None: ...

    def update_options(self, *, tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN) -> None: ...

    def push_audio(self, frame: rtc.AudioFrame) -> None: ...

    def push_video(self, frame: rtc.VideoFrame) -> None: ...

    def commit_audio(self) -> None: ...

    def clear_audio(self) -> None: ...

    def interrupt(self) -> None: ...

    def truncate(
        self,
        *,
        message_id: str,
        modalities: list[Literal["text", "audio"]],
        audio_end_ms: int,
        audio_transcript: NotGivenOr[str] = NOT_GIVEN,
    ) -> None: ...

    async def aclose(self) -> None: ...

    def generate_reply(
        self,
        *,
        instructions: NotGivenOr[str] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        tools: NotGivenOr[list[llm.Tool]] = NOT_GIVEN,
    ) -> asyncio.Future[llm.GenerationCreatedEvent]:
        told = instructions if isinstance(instructions, str) else ""
        self._of.requests.append(told)
        text = self._of.answer or told.removeprefix(VERBATIM.format(text="")) or "Yes?"
        created: asyncio.Future[llm.GenerationCreatedEvent] = asyncio.get_running_loop().create_future()
        event = llm.GenerationCreatedEvent(
            message_stream=self._messages(text), function_stream=_nothing(), user_initiated=True
        )
        created.set_result(event)
        return created

    async def _messages(self, text: str) -> AsyncIterator[llm.MessageGeneration]:
        modalities: asyncio.Future[list[Literal["text", "audio"]]] = asyncio.get_running_loop().create_future()
        modalities.set_result(["text", "audio"])
        yield llm.MessageGeneration("said", _once(text), self._audio(text), modalities)

    async def _audio(self, text: str) -> AsyncIterator[rtc.AudioFrame]:
        await asyncio.sleep(self._of.first_audio)
        times = np.arange(round(len(text) * self._of.character * _RATE)) / _RATE
        samples = (_PEAK * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
        for begin in range(0, len(samples), _RATE // 50):
            piece = samples[begin : begin + _RATE // 50]
            yield rtc.AudioFrame(piece.tobytes(), _RATE, 1, len(piece))


async def _once(text: str) -> AsyncIterator[str]:
    yield text


async def _nothing() -> AsyncIterator[Any]:
    return
    yield
