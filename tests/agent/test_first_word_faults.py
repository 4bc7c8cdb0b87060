"""firstword.agent.speak_first on virtual time: whatever is wrong, there is one error or a stated rule, and the caller is greeted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import AgentSession, JobContext

from firstword.agent import Greeting, speak_first, speak_first_plan
from firstword.agent.call_settings import DEFAULTS
from firstword.agent.greeting.greeting import SHIPPED_TEXT
from firstword.agent.testing import FakeCaller, FakeLiveKit, FirstWordTest
from firstword.agent.testing.providers import FakeVAD
from firstword.telemetry.plan import PlanError
from tests.agent.first_word_calls import HELLO, Conversation, Kind, events

pytest_plugins = ["firstword.agent.testing.fixtures"]


# --- sessions and agents


def test_a_session_that_runs_says_the_greeting(
    first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture
) -> None:
    class Starting(Conversation):
        async def before(self, job: JobContext, session: AgentSession[None]) -> None:
            await session.start(Kind(), room=job.room)

    conversation = Starting()
    call = first_word_test.run(conversation)
    assert (call.outcome, conversation.said) == ("first_word", [HELLO])
    assert call.frames
    assert "was started before speak_first" in caplog.text


@pytest.mark.parametrize("way", ["generate_reply", "say", "say and wait"])
def test_an_on_enter_that_speaks_is_not_heard(
    first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """One warning; what it does later is its own."""

    class Entering(Kind):
        async def on_enter(self) -> None:
            if way == "generate_reply":
                self.session.generate_reply(instructions="Greet.")
            elif way == "say":
                self.session.say("I am here.")
            else:
                await self.session.say("I am here.")

    conversation = Conversation(agent=Entering())
    call = first_word_test.run(conversation, stays=8.0)
    assert (call.outcome, conversation.said) == ("first_word", [HELLO])
    assert conversation.tts.speaking.requests == [HELLO]
    assert caplog.text.count("is dropped") == 1


def test_an_on_enter_that_fails_costs_no_greeting(first_word_test: FirstWordTest) -> None:
    """It is the agent's own affair."""

    class Entering(Kind):
        async def on_enter(self) -> None:
            raise ValueError("no such table")

    conversation = Conversation(agent=Entering())
    call = first_word_test.run(conversation, stays=8.0)
    assert (call.outcome, conversation.said, conversation.returned) == ("first_word", [HELLO], True)


def test_two_calls_at_once_are_an_error_and_one_greeting(first_word_test: FirstWordTest) -> None:
    """The second one is, whether the first has ended or not."""

    class Twice(Conversation):
        async def __call__(self, job: JobContext) -> None:
            other = speak_first(job, self.new_session(), agent=Kind(), greeting=HELLO)
            first = asyncio.create_task(super().__call__(job))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="expected one call of speak_first"):
                await other
            await first

    conversation = Twice()
    first_word_test.run(conversation)
    assert conversation.said == [HELLO]


def test_two_calls_of_it_are_an_error_and_one_greeting(first_word_test: FirstWordTest) -> None:
    class Twice(Conversation):
        async def __call__(self, job: JobContext) -> None:
            await super().__call__(job)
            with pytest.raises(RuntimeError, match="expected one call of speak_first"):
                await speak_first(job, self.new_session(), agent=Kind(), greeting=HELLO)

    conversation = Twice()
    first_word_test.run(conversation)
    assert conversation.said == [HELLO]


# --- greetings that do not come


async def _fails() -> Greeting:
    raise ValueError("no such customer")


async def _never() -> Greeting:
    await asyncio.Event().wait()
    raise AssertionError


async def _of_nobody_knows(what: str) -> Greeting:
    return Greeting(what)


async def _empty() -> Greeting:
    return Greeting(" ")


async def _nothing() -> None:
    """Forgot to return it."""


def _no_coroutine() -> str:
    return HELLO


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (_fails, "ValueError"),
        (_never, "TimeoutError"),
        (_empty, "EmptyGreeting"),
        (_nothing, "TypeError"),
        (_no_coroutine, "TypeError"),
        (None, None),
        (7, None),
        ("", "EmptyGreeting"),
        ("...", "EmptyGreeting"),
        (_of_nobody_knows, None),
    ],
)
def test_a_greeting_that_does_not_come_is_the_shipped_one(
    first_word_test: FirstWordTest, greeting: Any, reason: str | None
) -> None:
    """In time, and said so on the trace; the session goes on."""
    conversation = Conversation(greeting=greeting)
    call = first_word_test.run(conversation, stays=8.0)
    assert (call.outcome, conversation.said) == ("first_word", [SHIPPED_TEXT])
    assert call.heard < DEFAULTS.greeting_deadline + 0.5
    assert events(call).get("greeting.shipped") == reason
    assert conversation.returned


@pytest.mark.parametrize("fault", ["fails", "never"])
def test_a_tts_that_fails_is_the_shipped_greeting(first_word_test: FirstWordTest, fault: str) -> None:
    """One that never begins, too; the start is exported whole all the same."""
    conversation = Conversation()
    conversation.tts.speaking.fails = fault == "fails"
    conversation.tts.speaking.first_byte = 0.1 if fault == "fails" else 1e6
    call = first_word_test.run(conversation, stays=20.0)
    assert (call.outcome, conversation.said) == ("first_word", [SHIPPED_TEXT])
    assert call.heard < DEFAULTS.speech_deadline + 0.5
    assert [span for span in call.spans if span.name == "deferred.session"]


@pytest.mark.parametrize("has", ["tts", "tts and stt"])
def test_a_session_without_a_model_greets(first_word_test: FirstWordTest, has: str) -> None:
    """What it can do beyond that is its own."""

    class Lean(Conversation):
        def new_session(self) -> AgentSession[None]:
            if has == "tts":
                return AgentSession[None](tts=self.tts)
            return AgentSession[None](tts=self.tts, stt=self.stt, turn_handling={"turn_detection": "stt"})

    conversation = Lean()
    call = first_word_test.run(conversation)
    assert (call.outcome, conversation.said, conversation.returned) == ("first_word", [HELLO], True)


def test_an_empty_session_is_the_shipped_greeting(first_word_test: FirstWordTest) -> None:
    class Empty(Conversation):
        def new_session(self) -> AgentSession[None]:
            return AgentSession[None]()

    call = first_word_test.run(Empty())
    assert call.outcome == "first_word"
    assert call.frames


def test_a_session_in_which_nothing_speaks(first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture) -> None:
    """One line says what is missing, and the caller hears what ships with firstword."""

    class Mute(Conversation):
        def new_session(self) -> AgentSession[None]:
            return AgentSession[None](
                stt=self.stt, llm=self.llm, vad=FakeVAD(), turn_handling={"turn_detection": "stt"}
            )

    call = first_word_test.run(Mute())
    assert call.outcome == "first_word"
    assert call.frames
    assert caplog.text.count("nothing in the session speaks") == 1


def test_a_plan_that_cannot_be_run_is_an_error(first_word_test: FirstWordTest) -> None:
    """It names the task; unlike a greeting, nothing can take its place."""
    plan = speak_first_plan()

    @plan.task()
    async def account(nothing: str) -> str:
        return nothing

    with pytest.raises(PlanError, match="account needs nothing, which is neither a task nor given"):
        first_word_test.run(Conversation(plan=plan))


# --- rooms


def test_a_room_that_is_gone_ends_the_job(first_word_test: FirstWordTest) -> None:
    """Nobody was greeted, which is what it returns."""

    async def close(livekit: FakeLiveKit, caller: FakeCaller) -> None:
        await asyncio.sleep(0.3)
        livekit.rooms["call"].close(rtc.DisconnectReason.ROOM_DELETED)

    conversation = Conversation()
    conversation.tts.speaking.first_byte = 1.0
    call = first_word_test.run(conversation, close)
    assert (call.outcome, conversation.handle, conversation.returned) == ("abandoned", None, True)


def test_a_room_that_was_gone_before_ends_the_job(first_word_test: FirstWordTest) -> None:
    """The agent had joined it by itself, and took its time."""

    class Slow(Conversation):
        async def before(self, job: JobContext, session: AgentSession[None]) -> None:
            await job.connect()
            await asyncio.sleep(2.0)

    async def close(livekit: FakeLiveKit, caller: FakeCaller) -> None:
        await asyncio.sleep(1.0)
        livekit.rooms["call"].close(rtc.DisconnectReason.ROOM_DELETED)

    conversation = Slow()
    call = first_word_test.run(conversation, close)
    assert (conversation.handle, conversation.returned) == (None, True)
    assert call.outcome != "first_word"
