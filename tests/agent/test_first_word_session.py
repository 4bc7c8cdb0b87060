"""firstword.agent.speak_first with a function that makes the session: called while the room connects; one that fails costs no greeting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext

from firstword.agent.call_settings import DEFAULTS
from firstword.agent.greeting.session_recorder import SessionRecorder
from firstword.agent.testing import FirstWordTest
from firstword.agent.testing.realtime import FakeRealtimeModel
from tests.agent.first_word_calls import HELLO, Conversation, Kind

pytest_plugins = ["firstword.agent.testing.fixtures"]


class Made(Conversation):
    """Its session is made by a function."""

    def given(self) -> Any:
        return self.make

    def make(self) -> AgentSession[None]:
        return self.session


class MadeLater(Made):
    """By an async one."""

    def given(self) -> Any:
        async def make() -> AgentSession[None]:
            await asyncio.sleep(0.020)
            return self.session

        return make


@pytest.mark.parametrize("kind", [Made, MadeLater])
def test_a_session_that_a_function_makes_is_the_calls(first_word_test: FirstWordTest, kind: type[Made]) -> None:
    """Spoken once and then played; what makes it takes no time of the caller's."""
    first, second = kind(), kind()
    first_word_test.run(first)
    call = first_word_test.run(second)
    assert (first.tts.speaking.requests, second.tts.speaking.requests) == ([HELLO], [])
    assert (first.said, second.said, second.returned) == ([HELLO], [HELLO], True)
    assert call.path == ["room", "voice", "arrival"]
    call.assert_after_first_word("session")
    call.assert_nothing_early("caller")


def test_it_is_called_while_the_room_connects(first_word_test: FirstWordTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveKit's native client has the request by then, so that computing here holds nothing up."""
    happened = list[str]()
    connect = rtc.Room.connect

    async def connecting(self: rtc.Room, *arguments: Any, **options: Any) -> None:
        by = "agent" if self is noting.room else "caller"
        happened.append(f"{by} asks")
        await connect(self, *arguments, **options)
        happened.append(f"{by} is connected")

    class Noting(Made):
        room: rtc.Room

        async def before(self, job: JobContext, session: AgentSession[None]) -> None:
            self.room = job.room

        def make(self) -> AgentSession[None]:
            happened.append("made")
            return super().make()

    monkeypatch.setattr(rtc.Room, "connect", connecting)
    noting = Noting()
    first_word_test.run(noting)
    assert [each for each in happened if "caller" not in each] == ["agent asks", "made", "agent is connected"]


def test_it_may_have_a_realtime_model(first_word_test: FirstWordTest) -> None:
    model = FakeRealtimeModel()

    class Realtime(Made):
        def new_session(self) -> AgentSession[None]:
            return AgentSession[None](llm=model)

    conversation = Realtime()
    call = first_word_test.run(conversation)
    assert (call.outcome, conversation.said) == ("first_word", [HELLO])


def test_an_agent_with_a_node_of_its_own_speaks_by_its_session(first_word_test: FirstWordTest) -> None:
    """Whatever the function makes, the session comes first."""

    class Whispering(Kind):
        async def tts_node(self, text: Any, model_settings: Any) -> Any:
            async for frame in Agent.default.tts_node(self, text, model_settings):
                yield frame

    conversation = Made(agent=Whispering())
    call = first_word_test.run(conversation)
    call.assert_order("made_session", "session", "playout")
    assert conversation.said == [HELLO]


def test_a_session_in_which_nothing_speaks(first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture) -> None:
    class Mute(Made):
        def new_session(self) -> AgentSession[None]:
            return AgentSession[None]()

    conversation = Mute()
    call = first_word_test.run(conversation)
    assert (call.outcome, conversation.returned) == ("first_word", True)
    assert call.frames
    assert caplog.text.count("nothing in the session speaks") == 1


# --- no session


class Failing(Made):
    def given(self) -> Any:
        def make() -> AgentSession[None]:
            raise ValueError("no key")

        return make


class Nothing(Made):
    def given(self) -> Any:
        return lambda: None


class NoFunction(Made):
    def given(self) -> Any:
        return None


class Endless(Made):
    def given(self) -> Any:
        async def make() -> AgentSession[None]:
            await asyncio.Event().wait()
            raise AssertionError

        return make


class Started(Made):
    def given(self) -> Any:
        async def make() -> AgentSession[None]:
            await self.session.start(Kind())
            return self.session

        return make


class WithAnAvatar(Made):
    def make(self) -> AgentSession[None]:
        self.session.output.audio = SessionRecorder()
        return self.session


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Failing, "ValueError: no key"),
        (Nothing, "TypeError: expected a function that returns an AgentSession, not NoneType"),
        (NoFunction, "TypeError: 'NoneType' object is not callable"),
        (Endless, "TimeoutError"),
        (Started, "ValueError: expected a function that makes a new session"),
        (WithAnAvatar, "ValueError: expected a function that makes a new session"),
    ],
)
def test_without_a_session_the_caller_is_greeted_and_told_that_it_ends(
    first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture, kind: type[Made], error: str
) -> None:
    """By what ships with firstword; one error says why. The job ends."""
    conversation = kind()
    call = first_word_test.run(conversation, stays=20.0)
    assert (call.outcome, conversation.handle, conversation.returned) == ("first_word", None, True)
    assert call.heard < DEFAULTS.greeting_deadline + 0.5
    assert call.ended == "start failed: session"
    sound = sum(heard.frame.duration for heard in call.frames)
    assert sound > 3.0  # greeting and apology
    assert [record.levelname for record in caplog.records if record.name == "firstword"].count("ERROR") == 1
    assert error in caplog.text


def test_what_it_computes_is_on_the_trace(first_word_test: FirstWordTest) -> None:
    """A function that holds the loop up is a task like any other."""

    class Slow(MadeLater):
        def given(self) -> Any:
            async def make() -> AgentSession[None]:
                await asyncio.sleep(1.0)
                return self.session

            return make

    conversation = Slow()
    call = first_word_test.run(conversation)
    call.assert_on_path("made_session")
    assert (call.outcome, conversation.said) == ("first_word", [HELLO])
