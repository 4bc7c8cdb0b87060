"""The plan of any agent's start, read top to bottom: join, wait for the caller, speak; the session after the first
word.

`firstword.agent.first_word` runs it. Its tasks call the functions of a call (`firstword.agent.call`), which the shipped
plan uses as well. `speak_first_plan` makes a plan to which a user adds tasks.
"""

from __future__ import annotations

import asyncio
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
from firstword.agent.call.playout import greet, report_failed_audio, speech_failed
from firstword.agent.call.room import join
from firstword.agent.call.session_start import hear_everybody, start_session
from firstword.agent.call.speaking_first import new_voice, publish_voice
from firstword.agent.first_word_session import MadeSession
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.greeting import PreparedGreeting
from firstword.agent.greeting.spoken_greeting import EVERYBODY, Greeting, OwnedText, owned
from firstword.telemetry.plan import Plan, PlanError, when
from firstword.telemetry.run import cache_result
from firstword.telemetry.vocabulary import CONNECT, ROOT, WAIT

EARLY_VOICE: Final = "early-voice"
"""Condition of the plan: the agent speaks on a track of its own. False in a console, and where an avatar speaks."""
EARLY_SPEECH: Final = "early-speech"
"""Condition of the plan: the greeting can be said before the session has started, since its engine speaks by itself."""

GreetingFunction: TypeAlias = Callable[..., Awaitable["Greeting | str"]]
"""Writes one call's greeting. Its parameters are what it needs, by name: `job`, `caller`, the plan's own tasks."""


@dataclass(frozen=True, kw_only=True)
class FirstWord:
    """The arguments of one call of `speak_first`."""

    agent: Agent
    room_options: room_io.RoomOptions
    record: NotGivenOr[bool | RecordingOptions]
    make: Callable[[], Awaitable[MadeSession]]
    """Makes the session, or returns the one that was given."""


def speak_first_plan() -> Plan:
    """Returns a new plan for `speak_first(..., plan=...)`, to which you can add tasks of your own.

    They may need `job`, `run`, the tasks `room` and `caller` (a `rtc.RemoteParticipant`), and your own tasks; deferred
    ones `session` too. The greeting's function may need any task that is not deferred.
    """
    plan = Plan(ROOT, given=("job", "run", "call", "first_word"))
    plan.task(closes=CONNECT)(room)
    plan.task(fallback=_no_session)(made_session)
    plan.task(only=when(EARLY_VOICE))(track)
    plan.task(only=when(EARLY_VOICE))(voice)
    plan.task(closes=WAIT)(arrival)
    plan.task()(caller)
    plan.task(readies=True, deferred=when(EARLY_SPEECH))(session)
    return plan


def completed(plan: Plan, greeting: str | Greeting | GreetingFunction) -> Plan:
    """Returns a copy of the plan with the tasks of the greeting added. Raises PlanError if the result can't be run."""
    whole = plan.copy()
    whole.task(fallback=_shipped_text)(_text_of(greeting))
    whole.task()(prepared_greeting)
    whole.first_word(playout)
    whole.task(deferred=True, fallback=lambda: None)(greeting_cache)
    whole.check()
    return whole


# --- connect


async def room(call: Call) -> rtc.Room:
    """Joins the job's room, unless the agent has joined it already. Returns the room."""
    return await join(call)


async def made_session(call: Call, first_word: FirstWord) -> MadeSession:
    """Has the session made by the function that was given for it, while the room connects. Returns it, and how it
    speaks.
    """
    await asyncio.sleep(0)  # LiveKit's native client has been asked to connect by then, and goes on by itself
    speaking = await first_word.make()
    if speaking.audio is not None:
        call.at_end(speaking.audio.aclose)
    return speaking


async def track(call: Call) -> Voice:
    """Makes the agent's voice (an audio track that is not published yet) while the room connects."""
    return new_voice(call)


# --- wait


async def voice(room: rtc.Room, track: Voice, call: Call) -> Voice:
    """Publishes the agent's voice before the caller comes, and begins to listen. Returns the voice."""
    return await publish_voice(call, track)


async def arrival(room: rtc.Room, call: Call, voice: Voice | None = None) -> None:
    """Waits until a caller is there: the first participant, or whoever subscribes to the voice and may be the caller."""
    await until_caller(call, voice)


async def caller(room: rtc.Room, arrival: None, call: Call) -> rtc.RemoteParticipant:
    """Returns the caller's participant. Waits until LiveKit has announced them, which may be after they subscribed to
    the voice.
    """
    return (await announced_caller(call)).participant


# --- greet


async def session(
    room: rtc.Room,
    caller: rtc.RemoteParticipant,
    made_session: MadeSession,
    call: Call,
    first_word: FirstWord,
    voice: Voice | None = None,
) -> AgentSession[Any]:
    """Starts LiveKit's session, unless it runs already, and returns it. From here on it listens, and it goes on with a
    greeting that has begun.
    """
    started = made_session.session
    if made_session.running:
        call.session = started
    else:
        await start_session(call, started, first_word.agent, first_word.room_options, record=first_word.record)
        hear_everybody(call)
    return started


async def prepared_greeting(greeting_text: OwnedText | None, made_session: MadeSession, call: Call) -> PreparedGreeting:
    """Returns the greeting with its audio: from the cache, or synthesised from now on; without audio if only the
    session can speak it.

    Returns the shipped greeting if there is no text, or nothing in the session speaks.
    """
    if greeting_text is None or not made_session.speaks:
        return greetings.shipped()
    if made_session.audio is None:
        return PreparedGreeting(greeting_text.text)
    prepared = await made_session.audio.prepared(greeting_text, patience=call.settings.greeting_deadline)
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
    """Plays the greeting. Returns at the first frame on a track that the caller is subscribed to."""
    await greet(call, prepared_greeting, session, voice)


async def greeting_cache(prepared_greeting: PreparedGreeting, made_session: MadeSession, call: Call) -> None:
    """Caches the greeting's audio for the next call, if the cache lacked it. Reports it if the shipped greeting had to
    take its place.
    """
    await report_failed_audio(call, prepared_greeting)
    if made_session.audio is not None:
        await made_session.audio.keep(prepared_greeting)


def _text_of(greeting: str | Greeting | GreetingFunction) -> Callable[..., Awaitable[OwnedText]]:
    """The task `greeting_text`: a text is for everybody; what a function writes is one caller's. Raises PlanError."""
    if isinstance(greeting, str | Greeting):

        async def greeting_text() -> OwnedText:
            return owned(greeting, of=EVERYBODY)

        return greeting_text

    if not callable(greeting):  # pyright: ignore[reportUnnecessaryComparison]  # a user's
        raise PlanError(f"expected a text, a Greeting or an async function, not {type(greeting).__qualname__}")

    @functools.wraps(greeting)  # what it needs are its parameters
    async def written_text(**needs: Any) -> OwnedText:
        return owned(await greeting(**needs), of=None)

    written_text.__name__ = "greeting_text"
    return written_text


def _shipped_text(error: Exception, call: Call) -> None:
    """There is no text, or it came too late: what ships with the package is said."""
    speech_failed(call, error)


def _no_session(error: Exception) -> MadeSession:
    """There is no session: the caller is greeted by what ships with the package, and then told that it can't go on."""
    return MadeSession(failure=error)
