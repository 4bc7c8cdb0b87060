"""The simulated LiveKit Inference as LiveKit's own classes see it: model, ear and voice, at one address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIError, inference, llm, stt

from firstword.rehearsal.providers.server import ProviderAddresses
from tests.rehearsal.quick_simulators import (
    ONCE,
    PATIENCE,
    RATE,
    assert_says_utterance_after_utterance,
    two_sentences,
)

KEYS: dict[str, Any] = {"api_key": "x", "api_secret": "y" * 32}


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
    sound = two_sentences()
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
    await assert_says_utterance_after_utterance(tts, addresses, "inference-tts")


async def test_another_encoding_is_refused(addresses: ProviderAddresses) -> None:
    """What the simulator can't hear is an error, not silence."""
    async with hearing_at(addresses, encoding="opus") as stream:
        with pytest.raises(APIError, match="returned an error"):
            async for _ in stream:
                pass
