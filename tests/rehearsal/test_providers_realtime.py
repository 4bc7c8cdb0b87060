"""The simulated speech-to-speech model as LiveKit's own classes see it: it speaks when asked, and answers who speaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import inference, llm
from livekit.plugins import openai

from firstword.rehearsal.providers import hearing, voice
from firstword.rehearsal.providers.server import ProviderAddresses
from tests.rehearsal.quick_simulators import PATIENCE, quick_simulators

RATE = 24_000

RealtimeSession = llm.RealtimeSession[Any]


def of_openai(addresses: ProviderAddresses) -> llm.RealtimeModel:
    return openai.realtime.RealtimeModel(base_url=addresses.openai, api_key="x")


def of_livekit(addresses: ProviderAddresses) -> llm.RealtimeModel:
    return inference.RealtimeModel(
        "openai/gpt-realtime", base_url=addresses.inference, api_key="x", api_secret="y" * 32
    )


@pytest.fixture(params=[of_openai, of_livekit], ids=["openai", "inference"])
async def session(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[RealtimeSession]:
    make: Callable[[ProviderAddresses], llm.RealtimeModel] = request.param
    async with quick_simulators(tmp_path) as addresses, opened(make(addresses)) as made:
        yield made


@asynccontextmanager
async def opened(model: llm.RealtimeModel) -> AsyncGenerator[RealtimeSession]:
    made = cast("RealtimeSession", model.session())
    try:
        yield made
    finally:
        await made.aclose()
        await model.aclose()


async def spoken(generation: llm.GenerationCreatedEvent) -> tuple[str, float]:
    """The words of a response, and how many seconds they took to say."""
    text, seconds = "", 0.0
    async for message in generation.message_stream:
        text += "".join([str(piece) async for piece in message.text_stream])
        async for frame in message.audio_stream:
            seconds += frame.duration
    return text, seconds


async def test_it_speaks_when_it_is_asked(session: RealtimeSession) -> None:
    """The response is the one that was asked for: it is found by its metadata."""
    async with asyncio.timeout(PATIENCE):
        text, seconds = await spoken(await session.generate_reply(instructions="Greet the user."))
    assert text.startswith("Hello, how can I help you?")
    assert seconds == pytest.approx(voice.duration(text), abs=0.1)


async def test_it_hears_a_turn_and_answers(session: RealtimeSession) -> None:
    """As its own server finds turns: who speaks is transcribed, and answered without being asked for."""
    responses: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
    transcripts: asyncio.Queue[llm.InputTranscriptionCompleted] = asyncio.Queue()
    session.on("generation_created", responses.put_nowait)
    session.on("input_audio_transcription_completed", transcripts.put_nowait)
    said = np.concatenate([hearing.tone("what time is it", 1.0, RATE), np.zeros(RATE // 2, np.int16)])
    for begin in range(0, len(said), RATE // 10):
        piece = said[begin : begin + RATE // 10]
        session.push_audio(rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece)))
    async with asyncio.timeout(PATIENCE):
        assert (await transcripts.get()).transcript == "what time is it"
        text, _ = await spoken(await responses.get())
    assert text.startswith("You said: what time is it.")
