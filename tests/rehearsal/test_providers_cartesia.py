"""The simulated Cartesia as the real plugin sees it: voice over a WebSocket and as bytes, ear with turns and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, stt
from livekit.agents.utils import http_context
from livekit.plugins import cartesia

from firstword.rehearsal.providers import hearing, voice
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.server import ProviderAddresses, simulators

QUICK = (
    "connection = { median_ms = 0 }\ntts = { first_byte = { median_ms = 1 } }\nstt = { connect = { median_ms = 1 } }\n"
)
ONCE = APIConnectOptions(max_retry=0, timeout=60)
RATE = 16_000
PATIENCE = 120


@pytest.fixture
async def addresses(tmp_path: Path) -> AsyncGenerator[ProviderAddresses]:
    (tmp_path / "providers.toml").write_text(QUICK)
    async with simulators(Latencies.load(tmp_path / "providers.toml")) as running, http_context.open():
        yield running


async def test_the_voice_says_utterance_after_utterance(addresses: ProviderAddresses) -> None:
    """Over one connection, each in a context of its own."""
    tts = cartesia.TTS(base_url=addresses.cartesia, api_key="x")
    async with aclosing(tts), asyncio.timeout(PATIENCE):
        for text in ("Hello there. How are you?", "Good-bye."):
            async with tts.stream(conn_options=ONCE) as stream:
                stream.push_text(text)
                stream.end_input()
                seconds = sum([audio.frame.duration async for audio in stream])
            assert seconds == pytest.approx(voice.duration(text), abs=voice.SYLLABLE)
    async with http_context.http_session().get(addresses.stats) as response:
        counts = (await response.json())["cartesia-tts"]
    assert (counts["requests"], counts["answers"]) == (1, 2)


async def test_the_voice_says_one_text(addresses: ProviderAddresses) -> None:
    """By one request."""
    tts = cartesia.TTS(base_url=addresses.cartesia, api_key="x")
    async with aclosing(tts), tts.synthesize("Hello.", conn_options=ONCE) as stream:
        seconds = sum([audio.frame.duration async for audio in stream])
    assert seconds == pytest.approx(voice.duration("Hello."), abs=0.05)


@pytest.mark.parametrize("model", ["ink-2", "ink-whisper"])
async def test_the_ear_hears_two_sentences(addresses: ProviderAddresses, model: str) -> None:
    """Each begins, and ends with its words."""
    quiet = np.zeros(RATE // 2, np.int16)
    said = [hearing.tone("hello", 0.6, RATE), quiet, hearing.tone("what time is it", 1.0, RATE), quiet]
    sound = np.concatenate(said)
    ear = cartesia.STT(model=model, language="en", base_url=addresses.cartesia, api_key="x")
    async with aclosing(ear), ear.stream(conn_options=ONCE) as stream, asyncio.timeout(PATIENCE):
        stream.push_frame(rtc.AudioFrame(sound.tobytes(), RATE, 1, len(sound)))
        kinds: list[stt.SpeechEventType] = []
        texts: list[str] = []
        async for event in stream:
            kinds.append(event.type)
            if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                texts.append(event.alternatives[0].text)
            elif event.type is stt.SpeechEventType.END_OF_SPEECH and len(texts) == 2:
                stream.end_input()  # not before: the plugin connects to nobody once its input has ended
    assert texts == ["hello", "what time is it"]
    assert kinds.count(stt.SpeechEventType.START_OF_SPEECH) == 2
