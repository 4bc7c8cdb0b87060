"""Tests of an agent that speaks first, without a server and in milliseconds: what was heard, and what the caller waited for."""

from __future__ import annotations

import asyncio

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext

from firstword.agent import Greeting, speak_first, speak_first_plan
from firstword.agent.testing import FirstWordTest
from firstword.agent.testing.providers import FakeLLM, FakeSTT, FakeTTS, FakeVAD

pytest_plugins = ["firstword.agent.testing.fixtures"]

HELLO = "Hello, how can I help you?"
plan = speak_first_plan()


@plan.task()
async def account(job: JobContext) -> str:
    await asyncio.sleep(0.020)  # a read from a database
    return job.job.metadata


@plan.task(deferred=True)
async def analytics(account: str) -> None:
    await asyncio.sleep(0.100)


def new_session() -> AgentSession[None]:
    return AgentSession[None](stt=FakeSTT(), llm=FakeLLM(), tts=FakeTTS(), vad=FakeVAD())


async def for_everybody(job: JobContext) -> None:
    agent = Agent(instructions="Be kind.")
    await speak_first(job, new_session, agent=agent, greeting=HELLO, cache_key="a fake voice")


async def by_name(job: JobContext) -> None:
    async def written(caller: rtc.RemoteParticipant, account: str) -> Greeting:
        return Greeting(f"Hello {account}, how can I help you?", owner=caller.identity)

    agent = Agent(instructions="Be kind.")
    await speak_first(job, new_session(), agent=agent, greeting=written, cache_key="a fake voice", plan=plan)


def test_the_second_caller_waits_for_no_provider(first_word_test: FirstWordTest) -> None:
    first_word_test.run(for_everybody)
    call = first_word_test.run(for_everybody)
    assert call.path == ["room", "voice", "arrival"]
    assert call.heard == pytest.approx(0.075, abs=0.01)
    call.assert_after_first_word("session")
    call.assert_nothing_early("caller")


def test_a_greeting_by_name_waits_for_the_account(first_word_test: FirstWordTest) -> None:
    call = first_word_test.run(by_name, metadata="Ada")
    call.assert_order("account", "greeting_text", "playout")
    call.assert_after_first_word("session", "analytics")
    assert call.outcome == "first_word"
