"""The plan of any agent's start, read top to bottom: join, wait for the caller, speak; the session after the first word.

Between `firstword.agent.first_word`, which runs it, and the functions of a call, which the shipped plan uses as well.
A user's own tasks join it: `speak_first_plan`.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from livekit import rtc
from livekit.agents import Agent, AgentSession, NotGivenOr
from livekit.agents.voice import room_io
from livekit.agents.voice.agent_session import RecordingOptions

from firstword.agent.audio.voice import Voice
from firstword.agent.call.arrival import announced_caller, until_caller
from firstword.agent.call.call import Call
from firstword.agent.call.playout import greet, speech_failed
from firstword.agent.call.room import join
from firstword.agent.call.session_start import hear_everybody, start_session
from firstword.agent.call.speaking_first import new_voice, publish_voice
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.greeting import PreparedGreeting
from firstword.agent.greeting.spoken_greeting import EVERYBODY, Greeting, GreetingAudio, OwnedText, owned
from firstword.telemetry.plan import Plan, when
from firstword.telemetry.run import cache_result
from firstword.telemetry.vocabulary import CONNECT, ROOT, WAIT

EARLY_VOICE: Final = "early-voice"
"""The fact about a start that the agent speaks on a track of its own: not in a console, and not by an avatar."""
EARLY_SPEECH: Final = "early-speech"
"""The fact that the greeting can be said before the session is there: its engine speaks by itself."""

GreetingFunction: TypeAlias = Callable[..., Awaitable["Greeting | str"]]
"""Writes one call's greeting. Its parameters are what it needs, by name: `job`, `caller`, the plan's own tasks."""


@dataclass(frozen=True, kw_only=True)
class FirstWord:
    """What one call of `speak_first` was given."""

    session: AgentSession[Any]
    agent: Agent
    room_options: room_io.RoomOptions
    record: NotGivenOr[bool | RecordingOptions]
    audio: GreetingAudio | None
    """Makes the greeting's audio; None where only the session can."""
    speaks: bool
    """Something in the session speaks: a TTS or a realtime model."""
    running: bool
    """The session was started before."""


def speak_first_plan() -> Plan:
    """A new plan for `speak_first(..., plan=...)`, to which tasks of your own can be added.

    They may need `job`, `run`, the tasks `room`, `caller` (a `rtc.RemoteParticipant`), and those of your own; deferred ones
    `session` too. The greeting's function may need any but deferred ones.
    """
    plan = Plan(ROOT, given=("job", "run", "call", "first_word"))
    plan.task(closes=CONNECT)(room)
    plan.task(only=when(EARLY_VOICE))(track)
    plan.task(only=when(EARLY_VOICE))(voice)
    plan.task(closes=WAIT)(arrival)
    plan.task()(caller)
    plan.task(readies=True, deferred=when(EARLY_SPEECH))(session)
    return plan


def completed(plan: Plan, greeting: str | Greeting | GreetingFunction) -> Plan:
    """The user's plan with the greeting's own tasks. Raises PlanError."""
    whole = plan.copy()
    whole.task(fallback=_shipped_text)(_text_of(greeting))
    whole.task()(prepared_greeting)
    whole.first_word(playout)
    whole.task(deferred=True, fallback=lambda: None)(greeting_cache)
    whole.check()
    return whole


# --- connect


async def room(call: Call) -> rtc.Room:
    """Join the room, unless the agent has."""
    return await join(call)


async def track(call: Call) -> Voice:
    """Make the agent's voice while the room connects."""
    return new_voice(call)


# --- wait


async def voice(room: rtc.Room, track: Voice, call: Call) -> Voice:
    """Publish it before anybody is there, and listen."""
    return await publish_voice(call, track)


async def arrival(room: rtc.Room, call: Call, voice: Voice | None = None) -> None:
    """Wait until a caller is there: the first participant, or whoever subscribes to the voice and may be one."""
    await until_caller(call, voice)


async def caller(room: rtc.Room, arrival: None, call: Call) -> rtc.RemoteParticipant:
    """Who the caller is: LiveKit may announce them after they have subscribed."""
    return (await announced_caller(call)).participant


# --- greet


async def session(
    room: rtc.Room, caller: rtc.RemoteParticipant, call: Call, first_word: FirstWord, voice: Voice | None = None
) -> AgentSession[Any]:
    """Start LiveKit's session: from here on it listens. A greeting that has begun becomes its own."""
    if first_word.running:
        call.session = first_word.session
    else:
        await start_session(
            call, first_word.session, first_word.agent, first_word.room_options, record=first_word.record
        )
        hear_everybody(call)
    return first_word.session


async def prepared_greeting(greeting_text: OwnedText | None, call: Call, first_word: FirstWord) -> PreparedGreeting:
    """The greeting's audio: from the cache, or spoken from now on; the session's own where only that can speak."""
    if greeting_text is None or not first_word.speaks:
        return greetings.shipped()
    if first_word.audio is None:
        return PreparedGreeting(greeting_text.text)
    prepared = await first_word.audio.prepared(greeting_text, patience=call.settings.greeting_deadline)
    if prepared.audio is not None:
        call.at_end(prepared.audio.aclose)
    cache_result(hit=bool(prepared.hit))
    return prepared


async def playout(
    arrival: None,
    prepared_greeting: PreparedGreeting,
    call: Call,
    session: AgentSession[Any] | None = None,
    voice: Voice | None = None,
) -> None:
    """Speak; returns at the first frame on a track the caller is subscribed to."""
    await greet(call, prepared_greeting, session, voice)


async def greeting_cache(prepared_greeting: PreparedGreeting, call: Call, first_word: FirstWord) -> None:
    """Keep what the cache did not have, for the next call; say where the shipped greeting had to follow the first word."""
    failure = None if prepared_greeting.audio is None else await prepared_greeting.audio.failure()
    if failure is not None:
        speech_failed(call, failure)
    elif first_word.audio is not None:
        await first_word.audio.keep(prepared_greeting)


def _text_of(greeting: str | Greeting | GreetingFunction) -> Callable[..., Awaitable[OwnedText]]:
    """The task `greeting_text`: a text is for everybody; what a function writes is one caller's."""
    if isinstance(greeting, str | Greeting):

        async def greeting_text() -> OwnedText:
            return owned(greeting, of=EVERYBODY)

        return greeting_text

    @functools.wraps(greeting)  # what it needs are its parameters
    async def written_text(**needs: Any) -> OwnedText:
        return owned(await greeting(**needs), of=None)

    written_text.__name__ = "greeting_text"
    return written_text


def _shipped_text(error: Exception, call: Call) -> None:
    """There is no text, or it came too late: what ships with the package is said."""
    speech_failed(call, error)
