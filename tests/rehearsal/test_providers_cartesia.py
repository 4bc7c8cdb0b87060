"""The simulated Cartesia as the real plugin sees it: voice over a WebSocket and as bytes, ear with turns and without."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from livekit import rtc
from livekit.agents import stt
from livekit.plugins import cartesia

from firstword.rehearsal.providers import voice
from firstword.rehearsal.providers.server import ProviderAddresses
from tests.rehearsal.quick_simulators import (
    ONCE,
    PATIENCE,
    RATE,
    assert_says_utterance_after_utterance,
    two_sentences,
)


async def test_the_voice_says_utterance_after_utterance(addresses: ProviderAddresses) -> None:
    """Over one connection, each in a context of its own."""
    tts = cartesia.TTS(base_url=addresses.cartesia, api_key="x")
    await assert_says_utterance_after_utterance(tts, addresses, "cartesia-tts")


async def test_the_voice_says_one_text(addresses: ProviderAddresses) -> None:
    """By one request."""
    tts = cartesia.TTS(base_url=addresses.cartesia, api_key="x")
    async with aclosing(tts), tts.synthesize("Hello.", conn_options=ONCE) as stream:
        seconds = sum([audio.frame.duration async for audio in stream])
    assert seconds == pytest.approx(voice.duration("Hello."), abs=0.05)


@pytest.mark.parametrize("model", ["ink-2", "ink-whisper"])
async def test_the_ear_hears_two_sentences(addresses: ProviderAddresses, model: str) -> None:
    """Each begins, and ends with its words."""
    sound = two_sentences()
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
