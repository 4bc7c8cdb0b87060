"""The simulated LiveKit Inference as LiveKit's own classes see it: model, ear and voice, at one address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, inference, llm, stt
from livekit.agents.utils import http_context

from firstword.rehearsal.providers import hearing, voice
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.server import ProviderAddresses, simulators

QUICK = """
connection = { median_ms = 0 }
llm = { first_token = { median_ms = 1 }, token = { median_ms = 1 } }
tts = { first_byte = { median_ms = 1 } }
stt = { connect = { median_ms = 1 } }
"""
ONCE = APIConnectOptions(max_retry=0, timeout=60)
RATE = 16_000
PATIENCE = 120
KEYS: dict[str, Any] = {"api_key": "x", "api_secret": "y" * 32}


@pytest.fixture
async def addresses(tmp_path: Path) -> AsyncGenerator[ProviderAddresses]:
    (tmp_path / "providers.toml").write_text(QUICK)
    async with simulators(Latencies.load(tmp_path / "providers.toml")) as running, http_context.open():
        yield running


async def test_the_model_answers(addresses: ProviderAddresses) -> None:
    """As OpenAI's chat does."""
    async with aclosing(inference.LLM("openai/gpt-4.1-mini", base_url=addresses.inference, **KEYS)) as model:
        chat = llm.ChatContext.empty()
        chat.add_message(role="user", content="hello")
        async with model.chat(chat_ctx=chat, conn_options=ONCE) as stream:
            said = "".join([chunk.delta.content or "" async for chunk in stream if chunk.delta])
    assert said.startswith("You said: hello.")


@asynccontextmanager
async def hearing_at(addresses: ProviderAddresses, **options: Any) -> AsyncGenerator[stt.RecognizeStream]:
    """A stream of the ear's."""
    ear = inference.STT("deepgram/nova-3", base_url=addresses.inference, **KEYS, **options)
    async with ear, ear.stream(conn_options=ONCE) as stream:
        yield stream


async def test_the_ear_hears_two_sentences(addresses: ProviderAddresses) -> None:
    """Each word by word, then as a whole; a click between them is none."""
    quiet = np.zeros(RATE // 2, np.int16)
    said = [hearing.tone("hello", 0.6, RATE), quiet, hearing.tone("what time is it", 1.0, RATE), quiet]
    sound = np.concatenate(said)
    async with hearing_at(addresses) as stream, asyncio.timeout(PATIENCE):
        stream.push_frame(rtc.AudioFrame(sound.tobytes(), RATE, 1, len(sound)))
        stream.end_input()
        events = [event async for event in stream]
    finals = [each.alternatives[0] for each in events if each.type is stt.SpeechEventType.FINAL_TRANSCRIPT]
    assert [each.text for each in finals] == ["hello", "what time is it"]
    assert finals[1].start_time == pytest.approx(1.1, abs=0.1)
    assert list(finals[1].words or ()) == ["what", "time", "is", "it"]
    interim = [each.alternatives[0].text for each in events if each.type is stt.SpeechEventType.INTERIM_TRANSCRIPT]
    assert "what time" in interim


async def test_the_voice_says_utterance_after_utterance(addresses: ProviderAddresses) -> None:
    """Over one connection, each as long as its words."""
    tts = inference.TTS("cartesia/sonic-3", base_url=addresses.inference, **KEYS)
    async with aclosing(tts), asyncio.timeout(PATIENCE):
        for text in ("Hello there. How are you?", "Good-bye."):
            async with tts.stream(conn_options=ONCE) as stream:
                stream.push_text(text)
                stream.end_input()
                seconds = sum([audio.frame.duration async for audio in stream])
            assert seconds == pytest.approx(voice.duration(text), abs=voice.SYLLABLE)
    async with http_context.http_session().get(addresses.stats) as response:
        counts = (await response.json())["inference-tts"]
    assert (counts["requests"], counts["answers"]) == (1, 2)


async def test_another_encoding_is_refused(addresses: ProviderAddresses) -> None:
    """What the simulator can't hear is an error, not silence."""
    async with hearing_at(addresses, encoding="opus") as stream:
        with pytest.raises(APIError, match="returned an error"):
            async for _ in stream:
                pass
