"""firstword.agent.speak_first on virtual time: whoever's engine it is, the caller is greeted once, and heard."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext, llm, room_io
from livekit.agents import __version__ as livekit_agents_version

from firstword.agent import Greeting
from firstword.agent.cache.cache import Cache
from firstword.agent.call_settings import DEFAULTS
from firstword.agent.greeting.session_recorder import SessionRecorder
from firstword.agent.testing import FakeCaller, FakeLiveKit, FirstWordTest
from firstword.agent.testing.providers import FakeTTS
from firstword.agent.testing.realtime import FakeRealtimeModel
from firstword.telemetry import vocabulary as words
from tests.agent.first_word_calls import HELLO, VOICE, Conversation, Kind, attributes

pytest_plugins = ["firstword.agent.testing.fixtures"]


# --- engines


def test_a_greeting_is_spoken_once_and_then_played(first_word_test: FirstWordTest) -> None:
    """The first caller of all waits for the TTS, the next one for LiveKit's transport alone; each is in the chat context."""
    first, second = Conversation(), Conversation()
    missed = first_word_test.run(first)
    hit = first_word_test.run(second)
    assert (first.tts.speaking.requests, second.tts.speaking.requests) == ([HELLO], [])
    assert (first.said, second.said) == ([HELLO], [HELLO])
    hit.assert_not_on_path("prepared_greeting", "session", "caller")
    assert hit.heard <= missed.heard
    for call in (missed, hit):
        call.assert_after_first_word("session", "greeting_cache")
        call.assert_nothing_early("caller")


def test_a_realtime_model_is_recorded_and_then_played(first_word_test: FirstWordTest) -> None:
    """It is asked once, without a room; each session has the text in its own context, and in the model's from LiveKit 1.8.9 on."""
    model = FakeRealtimeModel()

    class Realtime(Conversation):
        def new_session(self) -> AgentSession[None]:
            return AgentSession[None](llm=model)

    first, second = Realtime(), Realtime()
    missed, hit = first_word_test.run(first), first_word_test.run(second)
    assert len(model.requests) == 1
    assert HELLO in model.requests[0]
    assert (first.said, second.said) == ([HELLO], [HELLO])
    assert hit.heard < 0.1 < missed.heard
    said = [item.text_content for item in model.contexts[-1].items if isinstance(item, llm.ChatMessage)]
    assert (HELLO in said) == (livekit_agents_version != "1.8.8")


def test_what_a_realtime_model_said_instead_is_not_kept(
    first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture
) -> None:
    model = FakeRealtimeModel(answer="I would rather not.")

    class Realtime(Conversation):
        def new_session(self) -> AgentSession[None]:
            return AgentSession[None](llm=model)

    for _ in range(2):
        conversation = Realtime()
        first_word_test.run(conversation)
        assert conversation.said == [model.answer]
    assert len(model.requests) == 2
    assert "something else than its text" in caplog.text


def test_an_engine_at_another_rate_is_heard_at_its_own_speed(first_word_test: FirstWordTest) -> None:
    conversation = Conversation()
    conversation.tts = FakeTTS(sample_rate=44_100)
    call = first_word_test.run(conversation)
    seconds = sum(heard.frame.duration for heard in call.frames)
    assert seconds == pytest.approx(len(HELLO) * conversation.tts.speaking.character, abs=0.1)


def test_an_agent_that_changes_what_its_tts_says_speaks_by_its_session(first_word_test: FirstWordTest) -> None:
    """What is spoken without it would be another's voice."""

    class Whispering(Kind):
        async def tts_node(self, text: Any, model_settings: Any) -> Any:
            async for frame in Agent.default.tts_node(self, text, model_settings):
                yield frame

    conversation = Conversation(agent=Whispering())
    call = first_word_test.run(conversation)
    call.assert_order("session", "playout")
    assert conversation.said == [HELLO]


# --- whose audio it is


@pytest.mark.parametrize("cache_key", [VOICE, None])
def test_a_greeting_with_an_owner_goes_with_the_owner(
    first_word_test: FirstWordTest, monkeypatch: pytest.MonkeyPatch, cache_key: str | None
) -> None:
    """Wherever it is kept."""
    tts = FakeTTS()

    async def written(caller: rtc.RemoteParticipant) -> Greeting:
        return Greeting(f"Hello {caller.identity}.", owner=caller.identity)

    def spoken() -> int:
        """How often the engine has spoken by then."""
        conversation = Conversation(greeting=written, cache_key=cache_key)
        conversation.tts = tts
        first_word_test.run(conversation)
        return len(tts.speaking.requests)

    assert [spoken(), spoken()] == [1, 1]
    cache = first_word_test.cache

    def opened(*_: object, **__: object) -> Cache:
        return cache

    monkeypatch.setattr("firstword.agent.greeting.spoken_greeting.open_cache", opened)
    assert asyncio.run(Greeting.forget("caller"))
    assert spoken() == 2


def test_a_greeting_without_an_owner_is_not_kept(first_word_test: FirstWordTest) -> None:
    async def written(job: JobContext) -> Greeting:
        return Greeting("Hello Ada.")

    for _ in range(2):
        conversation = Conversation(greeting=written)
        first_word_test.run(conversation)
        assert conversation.tts.speaking.requests == ["Hello Ada."]


def test_a_voice_that_cannot_be_read_is_kept_with_its_engine_alone(
    first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture
) -> None:
    """Another engine of the same class may have another voice; one line says so."""
    first, other, again = Conversation(cache_key=None), Conversation(cache_key=None), Conversation(cache_key=None)
    again.tts = first.tts
    for conversation in (first, other, again):
        first_word_test.run(conversation)
    assert (first.tts.speaking.requests, other.tts.speaking.requests) == ([HELLO], [HELLO])


# --- a connect, an output, options of the agent's own


def test_it_goes_on_from_a_connect_of_the_agents_own(first_word_test: FirstWordTest) -> None:
    """The trace says how long the job had run by then."""

    class Connecting(Conversation):
        async def before(self, job: JobContext, session: AgentSession[None]) -> None:
            await job.connect()
            await asyncio.sleep(0.5)

    conversation = Connecting()
    call = first_word_test.run(conversation)
    assert call.outcome == "first_word"
    assert conversation.said == [HELLO]
    assert attributes(call)[words.CONNECTED_BEFORE] > 0.5


def test_an_avatar_speaks_for_itself(first_word_test: FirstWordTest) -> None:
    """Its track is not ours to publish: the session says the greeting on the output that it was given."""
    avatar = SessionRecorder()

    class Avatar(Conversation):
        async def before(self, job: JobContext, session: AgentSession[None]) -> None:
            session.output.audio = avatar

    conversation = Avatar()
    call = first_word_test.run(conversation)
    assert (call.outcome, conversation.said) == ("first_word", [HELLO])
    assert avatar.frames.qsize() > 10
    assert not call.frames
    call.assert_order("session", "playout")


# --- a call


def test_a_caller_who_hangs_up_ends_the_call(first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="firstword")
    conversation = Conversation(settings=replace(DEFAULTS, return_grace=0.5))
    call = first_word_test.run(conversation, stays=3.0)
    assert call.outcome == "first_word"
    assert conversation.handle is not None
    assert "the call ended: caller hung up" in caplog.text


def test_what_the_caller_says_before_the_session_is_there_is_heard(first_word_test: FirstWordTest) -> None:
    conversation = Conversation()
    conversation.tts.speaking.first_byte = 1.0

    async def speak(livekit: FakeLiveKit, caller: FakeCaller) -> None:
        await asyncio.sleep(0.2)
        await caller.say(0.5)
        assert not caller.heard
        await asyncio.sleep(2.0)
        assert conversation.stt.voiced == pytest.approx(0.5, abs=0.1)

    assert first_word_test.run(conversation, speak).outcome == "first_word"


def test_everybody_is_subscribed_to_once_the_session_runs(first_word_test: FirstWordTest) -> None:
    """As after LiveKit's own connect."""
    subscribed = list[str]()

    async def join(livekit: FakeLiveKit, caller: FakeCaller) -> None:
        other = FakeCaller(livekit, identity="other")
        await asyncio.sleep(1.0)
        await other.join()
        await asyncio.sleep(1.0)
        agent = livekit.rooms["call"].participants["agent"]
        subscribed.extend(
            each.identity
            for each in livekit.rooms["call"].participants.values()
            if any(agent in publication.subscribers for publication in each.publications.values())
        )
        await other.leave()

    first_word_test.run(Conversation(), join)
    assert set(subscribed) == {"caller", "other"}


def test_the_users_room_options_are_kept(first_word_test: FirstWordTest) -> None:
    """But for what the voice and the ear take the place of; the voice has the name that they give it."""
    output = room_io.AudioOutputOptions(track_name="my voice")
    conversation = Conversation(room_options=room_io.RoomOptions(audio_output=output, text_input=False))
    call = first_word_test.run(conversation)
    assert {heard.track for heard in call.frames} == {"my voice"}
