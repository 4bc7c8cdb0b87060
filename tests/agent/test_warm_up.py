"""firstword.agent.warm_up: what a process has ready before its first call, and what becomes of a start that fails."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, JobExecutorType, JobProcess

from firstword.agent import warm_up
from firstword.agent.greeting.spoken_greeting import EVERYBODY, GreetingAudio, OwnedText
from firstword.agent.testing.providers import FakeLLM, FakeTTS, FakeVAD

HELLO = OwnedText("Hello, how can I help you?", EVERYBODY)
VOICE = "a fake voice"


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobProcess:
    """A process of a job, whose greetings are kept in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return JobProcess(executor_type=JobExecutorType.PROCESS, user_arguments=None, http_proxy=None)


def _cached() -> bool:
    async def look() -> bool:
        audio = GreetingAudio(FakeTTS(), Agent(instructions=""), VOICE)
        try:
            return bool(await audio.cached(HELLO))
        finally:
            await audio.aclose()

    return asyncio.run(look())


def test_a_greeting_is_recorded_once(process: JobProcess) -> None:
    """What one process has recorded, the next one finds."""
    engines: list[FakeTTS] = []

    def new_session() -> AgentSession[None]:
        engines.append(FakeTTS())
        return AgentSession[None](llm=FakeLLM(), tts=engines[-1], vad=FakeVAD())

    warm_up(process, new_session)
    assert not _cached()
    for _ in range(2):
        warm_up(process, new_session, greeting=HELLO.text, cache_key=VOICE)
    assert [tts.speaking.requests for tts in engines if tts.speaking.requests] == [[HELLO.text]]
    assert _cached()


def test_engines_that_sessions_share_are_left_alone(process: JobProcess, caplog: pytest.LogCaptureFixture) -> None:
    """What a plugin opens in the dry start is closed with it, and the calls that share the plugin would find it so."""
    tts = FakeTTS()
    warm_up(
        process, lambda: AgentSession[None](llm=FakeLLM(), tts=tts, vad=FakeVAD()), greeting=HELLO.text, cache_key=VOICE
    )
    assert tts.speaking.requests == []
    assert "expected make_session to make new STT, LLM and TTS" in caplog.text


def test_an_async_function_makes_it_too(process: JobProcess) -> None:
    """As for `speak_first`, so that one function will do for both."""

    async def new_session() -> AgentSession[None]:
        return AgentSession[None](llm=FakeLLM(), tts=FakeTTS(), vad=FakeVAD())

    warm_up(process, new_session, greeting=HELLO.text, cache_key=VOICE)
    assert _cached()


@pytest.mark.parametrize("fails", ["session", "no session", "tts"])
def test_what_fails_is_one_warning(process: JobProcess, caplog: pytest.LogCaptureFixture, fails: str) -> None:
    """The first call does it then."""

    def new_session() -> Any:
        if fails == "session":
            raise ValueError("no key")
        if fails == "no session":
            return None
        tts = FakeTTS()
        tts.speaking.fails = True
        return AgentSession[None](llm=FakeLLM(), tts=tts, vad=FakeVAD())

    with caplog.at_level(logging.WARNING, logger="firstword"):
        warm_up(process, new_session, greeting=HELLO.text, cache_key=VOICE)
    ours = [record for record in caplog.records if record.name == "firstword"]
    assert len(ours) == 1
    assert not _cached()
