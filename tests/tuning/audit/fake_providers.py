"""An LLM and a TTS as a plugin of LiveKit's has them: a connection at the first use or by `prewarm`, then an answer after so long."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import numpy as np
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, llm, tts

CONNECTING, FIRST_TOKEN, FIRST_AUDIO = 0.150, 0.400, 0.200


class LLM(llm.LLM[Any]):
    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> LLMStream:
        return LLMStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class LLMStream(llm.LLMStream):
    async def _run(self) -> None:
        await asyncio.sleep(FIRST_TOKEN)
        for word in ("Hello, ", "how ", "can ", "I ", "help ", "you? "):
            await asyncio.sleep(0.010)
            self._event_ch.send_nowait(llm.ChatChunk(id="fake", delta=llm.ChoiceDelta(role="assistant", content=word)))


class TTS(tts.TTS[Any]):
    def __init__(self, *, connected: bool = True, prewarming: float = 0.0) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=24_000, num_channels=1)
        self.connected = connected
        self.prewarming = prewarming
        self.connecting: asyncio.Task[None] | None = None

    def connect(self) -> None:
        self.connecting = asyncio.create_task(self._connect_ws())

    def prewarm(self) -> None:
        if self.prewarming:
            hold(self.prewarming)

    async def _connect_ws(self) -> None:
        await asyncio.sleep(CONNECTING)
        self.connected = True

    def synthesize(self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> ChunkedStream:
        return ChunkedStream(tts=self, input_text=text, conn_options=conn_options)


class ChunkedStream(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        of = cast("TTS", self._tts)
        if of.connecting is not None:
            await of.connecting
        elif not of.connected:
            await of._connect_ws()  # pyright: ignore[reportPrivateUsage] # as in LiveKit's plugins, where a pool calls it
        await asyncio.sleep(FIRST_AUDIO)
        output_emitter.initialize(request_id="fake", sample_rate=24_000, num_channels=1, mime_type="audio/pcm")
        wave = 12_000 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000)
        output_emitter.push(wave.astype(np.int16).tobytes())


class VAD:
    @classmethod
    def load(cls) -> VAD:
        hold(0.2)
        return cls()


def hold(seconds: float) -> None:
    """Replaced by a test: computes for so long."""
    raise NotImplementedError
