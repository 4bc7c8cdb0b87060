"""firstword.agent.speak_first on virtual time: whoever's engine it is, whatever is wrong, the caller is greeted once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext, llm, room_io
from livekit.agents import __version__ as livekit_agents_version
from livekit.agents.voice.speech_handle import SpeechHandle

from firstword.agent import Greeting, speak_first, speak_first_plan
from firstword.agent.cache.cache import Cache
from firstword.agent.call_settings import DEFAULTS
from firstword.agent.greeting.greeting import SHIPPED_TEXT
from firstword.agent.greeting.session_recorder import SessionRecorder
from firstword.agent.testing import FakeCaller, FakeLiveKit, FirstWordTest, GreetedCall
from firstword.agent.testing.providers import FakeLLM, FakeSTT, FakeTTS, FakeVAD
from firstword.agent.testing.realtime import FakeRealtimeModel
from firstword.telemetry import vocabulary as words
from firstword.telemetry.plan import PlanError

pytest_plugins = ["firstword.agent.testing.fixtures"]

HELLO = "Hello, how can I help you?"
VOICE = "a fake voice"
Entrypoint = Callable[[JobContext], Awaitable[None]]


class Kind(Agent):
    """An agent that says nothing by itself."""

    def __init__(self) -> None:
        super().__init__(instructions="Be kind.")


class Conversation:
    """An entrypoint that speaks first, and what became of it."""

    def __init__(self, **options: Any) -> None:
        self.tts, self.stt, self.llm = FakeTTS(), FakeSTT(), FakeLLM()
        self.options: dict[str, Any] = {"greeting": HELLO, "cache_key": VOICE, **options}
        self.handle: SpeechHandle | None = None
        self.session: AgentSession[None] = cast("AgentSession[None]", None)
        self.returned = False

    def new_session(self) -> AgentSession[None]:
        return AgentSession[None](
            stt=self.stt,
            llm=self.llm,
            tts=self.tts,
            vad=FakeVAD(),
            turn_handling={"turn_detection": "stt"},
            aec_warmup_duration=0,
        )

    async def before(self, job: JobContext, session: AgentSession[None]) -> None:
        """What the agent does before it speaks."""

    async def __call__(self, job: JobContext) -> None:
        self.session = self.new_session()
        await self.before(job, self.session)
        options: dict[str, Any] = {"agent": Kind(), **self.options}
        self.handle = await speak_first(job, self.session, **options)
        self.returned = True

    @property
    def said(self) -> list[str]:
        """What the chat context says that the assistant has said."""
        items = [item for item in self.session.history.items if isinstance(item, llm.ChatMessage)]
        return [item.text_content or "" for item in items if item.role == "assistant"]


def attributes(call: GreetedCall) -> dict[str, Any]:
    return dict(call.root.attributes or {})


def events(call: GreetedCall) -> dict[str, Any]:
    """Those of the start, by name, with their reason."""
    return {event.name: (event.attributes or {}).get("reason") for event in call.root.events}


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


# --- a connect, a session, an on_enter of the agent's own


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


@pytest.mark.parametrize("way", ["generate_reply", "say"])
def test_an_on_enter_that_speaks_is_not_heard(
    first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """One warning; what it does later is its own."""

    class Entering(Kind):
        async def on_enter(self) -> None:
            if way == "say":
                self.session.say("I am here.")
            else:
                self.session.generate_reply(instructions="Greet.")

    conversation = Conversation(agent=Entering())
    call = first_word_test.run(conversation, stays=8.0)
    assert (call.outcome, conversation.said) == ("first_word", [HELLO])
    assert conversation.tts.speaking.requests == [HELLO]
    assert caplog.text.count("is dropped") == 1


def test_two_calls_of_it_are_an_error_and_one_greeting(first_word_test: FirstWordTest) -> None:
    class Twice(Conversation):
        async def __call__(self, job: JobContext) -> None:
            await super().__call__(job)
            with pytest.raises(RuntimeError, match="expected one call of speak_first"):
                await speak_first(job, self.new_session(), agent=Kind(), greeting=HELLO)

    conversation = Twice()
    first_word_test.run(conversation)
    assert conversation.said == [HELLO]


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


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (_fails, "ValueError"),
        (_never, "TimeoutError"),
        (_empty, "EmptyGreeting"),
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


def test_a_tts_that_fails_is_the_shipped_greeting(first_word_test: FirstWordTest) -> None:
    conversation = Conversation()
    conversation.tts.speaking.fails = True
    call = first_word_test.run(conversation, stays=20.0)
    assert (call.outcome, conversation.said) == ("first_word", [SHIPPED_TEXT])
    assert call.heard < DEFAULTS.speech_deadline + 0.5


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


# --- a call that ends


def test_a_room_that_is_gone_ends_the_job(first_word_test: FirstWordTest) -> None:
    """Nobody was greeted, which is what it returns."""

    async def close(livekit: FakeLiveKit, caller: FakeCaller) -> None:
        await asyncio.sleep(0.3)
        livekit.rooms["call"].close(rtc.DisconnectReason.ROOM_DELETED)

    conversation = Conversation()
    conversation.tts.speaking.first_byte = 1.0
    call = first_word_test.run(conversation, close)
    assert (call.outcome, conversation.handle, conversation.returned) == ("abandoned", None, True)


def test_a_caller_who_hangs_up_ends_the_call(first_word_test: FirstWordTest, caplog: pytest.LogCaptureFixture) -> None:
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


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger="firstword"):
        yield
