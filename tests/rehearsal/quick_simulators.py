"""Simulators that answer at once, and what the plugins of any provider are asked with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livekit.agents import APIConnectOptions, tts
from livekit.agents.utils import http_context
from numpy.typing import NDArray

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


@asynccontextmanager
async def quick_simulators(folder: Path) -> AsyncGenerator[ProviderAddresses]:
    """Their addresses, while they run in a context in which plugins have HTTP."""
    (folder / "providers.toml").write_text(QUICK)
    async with simulators(Latencies.load(folder / "providers.toml")) as running, http_context.open():
        yield running


def two_sentences() -> NDArray[np.int16]:
    """\"hello\" and \"what time is it\", as the simulated ears hear them, at `RATE`."""
    quiet = np.zeros(RATE // 2, np.int16)
    return np.concatenate([hearing.tone("hello", 0.6, RATE), quiet, hearing.tone("what time is it", 1.0, RATE), quiet])


async def assert_says_utterance_after_utterance(engine: tts.TTS[Any], addresses: ProviderAddresses, name: str) -> None:
    """Over one connection, each as long as its words. name: what the simulators count its requests under."""
    async with aclosing(engine), asyncio.timeout(PATIENCE):
        for text in ("Hello there. How are you?", "Good-bye."):
            async with engine.stream(conn_options=ONCE) as stream:
                stream.push_text(text)
                stream.end_input()
                seconds = sum([audio.frame.duration async for audio in stream])
            assert seconds == pytest.approx(voice.duration(text), abs=voice.SYLLABLE)
    async with http_context.http_session().get(addresses.stats) as response:
        counts = (await response.json())[name]
    assert (counts["requests"], counts["answers"]) == (1, 2)
