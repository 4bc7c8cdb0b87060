"""Fake providers for a LiveKit session under test: each takes exactly as long as it is told, and opens no connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectionError,
    APIConnectOptions,
    NotGivenOr,
    llm,
    stt,
    tts,
    vad,
)

_PEAK = 12_000
_LOUD = 500
"""Peak of a frame in which somebody speaks."""
_FRAME_S = 0.020


@dataclass
class Speaking:
    """Settings of a `FakeTTS`: how long it takes, and what it answers. They may be changed at any time."""

    first_byte: float = 0.100
    """Seconds from the request to the first audio; what follows is there at once."""
    character: float = 0.060
    """Seconds of audio for each character of the text."""
    fails: bool = False
    """Whether every request fails."""
    requests: list[str] = field(default_factory=list[str])
    """The texts that were asked for."""


class FakeTTS(tts.TTS[Any]):
    """A fake TTS that says every text as a tone. `speaking` has its settings."""

    def __init__(self, *, sample_rate: int = 24_000) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=sample_rate, num_channels=1)
        self.speaking = Speaking()

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Returns the speech for a text: a tone whose length depends on the number of characters."""
        return _Tone(self, text, conn_options)

    def update_options(self, **_: Any) -> None:
        """Accepts any options, and changes nothing: all voices sound alike."""


class _Tone(tts.ChunkedStream):
    def __init__(self, of: FakeTTS, text: str, options: APIConnectOptions) -> None:
        super().__init__(tts=of, input_text=text, conn_options=options)
        self._speaking, self._rate = of.speaking, of.sample_rate

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        self._speaking.requests.append(self._input_text)
        await asyncio.sleep(self._speaking.first_byte)
        if self._speaking.fails:
            raise APIConnectionError("the fake TTS was told to fail")
        output_emitter.initialize(request_id="fake", sample_rate=self._rate, num_channels=1, mime_type="audio/pcm")
        length = round(len(self._input_text) * self._speaking.character * self._rate)
        wave = _PEAK * np.sin(np.arange(length) * 2 * np.pi * 440 / self._rate)
        output_emitter.push(wave.astype(np.int16).tobytes())


class FakeSTT(stt.STT[Any]):
    """A fake STT that understands what it is told to: `say("hello")` is a final transcript.

    heard: seconds of audio that came. voiced: seconds of it that were loud. fails: whether every attempt to listen
    fails; may be changed at any time.
    """

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.heard = self.voiced = 0.0
        self.fails = False
        self._streams: list[_Listening] = []

    def say(self, text: str) -> None:
        """Has the STT return this text as a final transcript, as if somebody had said it."""
        for stream in self._streams:
            stream.understand(text)

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        """Returns a new stream of recognition, which counts the audio it gets."""
        stream = _Listening(self, conn_options)
        self._streams.append(stream)
        return stream

    def update_options(self, **_: Any) -> None:
        """Accepts any options, and changes nothing: any language is understood."""

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise NotImplementedError("a session listens to streams")


class _Listening(stt.RecognizeStream):
    def __init__(self, of: FakeSTT, options: APIConnectOptions) -> None:
        super().__init__(stt=of, conn_options=options, sample_rate=16_000)
        self._of = of

    def understand(self, text: str) -> None:
        said = [stt.SpeechData(language="en", text=text)]  # pyright: ignore[reportArgumentType]  # a text is one
        for kind in (stt.SpeechEventType.START_OF_SPEECH, stt.SpeechEventType.FINAL_TRANSCRIPT):
            self._event_ch.send_nowait(stt.SpeechEvent(type=kind, alternatives=said))
        self._event_ch.send_nowait(stt.SpeechEvent(type=stt.SpeechEventType.END_OF_SPEECH))

    async def _run(self) -> None:
        if self._of.fails:
            raise APIConnectionError("the fake STT was told to fail")
        async for frame in self._input_ch:
            if isinstance(frame, rtc.AudioFrame):
                self._of.heard += frame.duration
                if np.abs(np.frombuffer(frame.data, np.int16).astype(np.int32)).max(initial=0) > _LOUD:
                    self._of.voiced += frame.duration


class FakeLLM(llm.LLM[Any]):
    """A fake LLM that answers every question with `answer`, after `first_token` seconds.

    questions: what it was asked last, each time. said: what the assistant had said before that, each time. calls: tools
    that it calls, each a name and arguments in JSON, one with each answer until none is left. fails: whether every
    request fails; may be changed at any time.
    """

    def __init__(self, answer: str = "I see.", *, first_token: float = 0.200) -> None:
        super().__init__()
        self.answer, self.first_token = answer, first_token
        self.fails = False
        self.questions: list[str] = []
        self.said: list[list[str]] = []
        self.calls: list[tuple[str, str]] = []

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> llm.LLMStream:
        """Notes the question and returns the stream of the answer."""
        messages = [item for item in chat_ctx.items if isinstance(item, llm.ChatMessage)]
        self.questions.append((messages[-1].text_content or "") if messages else "")
        self.said.append([message.text_content or "" for message in messages if message.role == "assistant"])
        return _Answer(self, chat_ctx, tools or [], conn_options)


class _Answer(llm.LLMStream):
    def __init__(
        self, of: FakeLLM, context: llm.ChatContext, tools: list[llm.Tool], options: APIConnectOptions
    ) -> None:
        super().__init__(of, chat_ctx=context, tools=tools, conn_options=options)
        self._of = of

    async def _run(self) -> None:
        await asyncio.sleep(self._of.first_token)
        if self._of.fails:
            raise APIConnectionError("the fake LLM was told to fail")
        said = llm.ChoiceDelta(role="assistant", content=self._of.answer)
        if self._of.calls:
            name, arguments = self._of.calls.pop(0)
            said.tool_calls = [llm.FunctionToolCall(name=name, arguments=arguments, call_id="call")]
        self._event_ch.send_nowait(llm.ChatChunk(id="fake", delta=said))


class FakeVAD(vad.VAD):
    """A fake VAD that reports voices when it is told to: `begin` and `end` of somebody's speech."""

    def __init__(self) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.1))
        self._streams: list[_Detecting] = []

    def begin(self) -> None:
        """Has the VAD report that somebody begins to speak."""
        for stream in self._streams:
            stream.detect(vad.VADEventType.START_OF_SPEECH)

    def end(self) -> None:
        """Has the VAD report that nobody speaks any more."""
        for stream in self._streams:
            stream.detect(vad.VADEventType.END_OF_SPEECH)

    def stream(self) -> vad.VADStream:
        """Returns a new stream of detection, on which `begin` and `end` are reported."""
        stream = _Detecting(self)
        self._streams.append(stream)
        return stream


class _Detecting(vad.VADStream):
    def detect(self, kind: vad.VADEventType) -> None:
        event = vad.VADEvent(type=kind, samples_index=0, timestamp=0.0, speech_duration=0.5, silence_duration=0.0)
        self._event_ch.send_nowait(event)

    async def _main_task(self) -> None:
        async for _ in self._input_ch:
            pass
