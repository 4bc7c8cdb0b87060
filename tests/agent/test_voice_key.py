"""firstword.agent.greeting.engine: the same voice has the same key; another voice, or one that cannot be read, never has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
from livekit.agents import Agent, inference
from livekit.plugins import deepgram, openai

from firstword.agent.greeting.engine import Engine, voice_key
from firstword.agent.testing.providers import FakeTTS

AGENT = Agent(instructions="Be kind.")


def _deepgram(**options: str) -> deepgram.TTS:
    return deepgram.TTS(**{"api_key": "one", "model": "aura-2-thalia-en", **options})  # pyright: ignore[reportArgumentType]


def _openai(**options: str) -> openai.TTS:
    make = cast("Any", openai.TTS)  # overloaded, which options by name are no match for
    return make(**{"api_key": "one", "voice": "ash", **options})


def _inference(**options: str) -> inference.TTS:
    make = cast("Any", inference.TTS)
    return make(**{"model": "cartesia/sonic-3", "api_key": "one", "api_secret": "two", **options})


def _realtime(voice: str, api_key: str = "one") -> openai.realtime.RealtimeModel:
    return openai.realtime.RealtimeModel(api_key=api_key, voice=voice)


@pytest.mark.parametrize(
    ("one", "same", "others"),
    [
        (
            _deepgram(),
            _deepgram(api_key="another"),
            [_deepgram(model="aura-2-andromeda-en"), _deepgram(base_url="http://127.0.0.1:9/v1/speak")],
        ),
        (
            _openai(),
            _openai(api_key="another"),
            [_openai(voice="coral"), _openai(instructions="Whisper."), _openai(base_url="http://127.0.0.1:9/v1")],
        ),
        (_inference(), _inference(api_key="another"), [_inference(voice="another"), _inference(language="de")]),
        (_realtime("marin"), _realtime("marin", api_key="another"), [_realtime("cedar")]),
    ],
    ids=["deepgram", "openai", "inference", "realtime"],
)
def test_a_key_is_of_what_is_heard(one: Engine, same: Engine, others: list[Engine]) -> None:
    """Not of who pays for it."""
    key = voice_key(one, AGENT)
    assert key is not None
    assert voice_key(same, AGENT) == key
    assert "another" not in key
    assert "two" not in key
    for other in others:
        assert voice_key(other, AGENT) not in (key, None)


def test_a_realtime_model_speaks_by_its_instructions() -> None:
    model = _realtime("marin")
    assert voice_key(model, AGENT) != voice_key(model, Agent(instructions="Be short."))
    tts = _deepgram()
    assert voice_key(tts, AGENT) == voice_key(tts, Agent(instructions="Be short."))


def test_what_cannot_be_read_has_no_key() -> None:
    """A class of the user's own, and an option that is an object."""

    class Mine(deepgram.TTS):
        pass

    class Locator: ...

    @dataclass
    class Options:
        model: str
        locator: Locator

    assert voice_key(FakeTTS(), AGENT) is None
    assert voice_key(Mine(api_key="one"), AGENT) is None
    tts = _deepgram()
    tts._opts = Options("aura-2-thalia-en", Locator())  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    assert voice_key(tts, AGENT) is None
