"""Plays the greeting, on the voice at once or by the session, until the caller hears it from its beginning.

Under the plan's `playout` task. If its audio fails, the shipped one is played.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from livekit.agents import AgentSession, llm
from livekit.agents.voice.speech_handle import SpeechHandle
from opentelemetry import trace as otel

from firstword.agent.audio.voice import ON_THE_WAY_S, Speech, Voice
from firstword.agent.call import console
from firstword.agent.call.arrival import listener
from firstword.agent.call.call import Call
from firstword.agent.call.caller import missed, until_connected
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.engine import engine_of
from firstword.agent.greeting.greeting import PreparedGreeting
from firstword.agent.greeting.session_recorder import VERBATIM
from firstword.telemetry.livekit import NotSpoken, first_frame
from firstword.telemetry.run import ended_at, used_fallback

logger = logging.getLogger("firstword")

MOST_TRIES = 5
"""How often the shipped greeting is tried after one that could not be played."""
TRY_AGAIN_S = 0.2
"""Seconds before the second of these tries, twice that before the third, and so on. The first is made at once."""


async def greet(call: Call, greeting: PreparedGreeting, session: AgentSession[Any] | None, voice: Voice | None) -> None:
    """Greets the caller, by the session if it has started, else on the voice. Returns when the caller hears it."""
    if call.withdrawn:
        greeting = greetings.shipped()
    if session is not None:
        await say(call, session, voice, greeting)
    elif voice is not None:
        await speak(call, voice, greeting)
    call.unheard.heard()


async def speak(call: Call, voice: Voice, greeting: PreparedGreeting) -> None:
    """Plays the greeting on the voice, and returns when the caller hears its beginning. Waits for the caller without
    limit.

    For a caller who came after it had begun, it is stopped and begins again. If its audio fails or is late, the shipped
    one is played. Raises the last error if that fails `MOST_TRIES` times.
    """
    generic = call.withdrawn
    tries = 0
    while True:
        if call.caller.done():
            await until_connected(call.job.room, call.caller.result())
        speech = _begin(call, voice, greeting)
        try:
            async with asyncio.timeout(call.settings.speech_deadline):
                began = await speech.begun()
        except Exception as error:  # the TTS's own errors, whichever provider it is
            speech_failed(call, error)
            await speech.stop()
            tries += 1
            if tries > MOST_TRIES:  # the shipped greeting needs no provider: it is the room that does not take it
                raise
            await asyncio.sleep(TRY_AGAIN_S * (tries - 1))
            greeting = greetings.shipped()
            continue
        # LiveKit may announce who subscribed later than they heard it
        found = await listener(call)
        if call.withdrawn and not generic:  # since it began
            await speech.stop()
            greeting, generic = greetings.shipped(), True
            continue
        if found is None or missed(found, began, call.server_ahead):
            await speech.stop()
            await asyncio.shield(call.caller)
            call.limits.presence.missed_it()
        if call.limits.presence.hears:
            ended_at(began)
            await asyncio.sleep(ON_THE_WAY_S)
            return
        await speech.stop()
        await call.limits.presence.hearing()


async def say(call: Call, session: AgentSession[Any], voice: Voice | None, greeting: PreparedGreeting) -> None:
    """Lets the session say the greeting, and returns when the caller hears it. If its audio is late or fails, the
    shipped one is said.
    """
    presence = call.limits.presence
    while True:
        await presence.hearing()
        await until_connected(call.job.room, presence.caller)
        try:
            speech = await _first_frame(session, voice, greeting, deadline=call.settings.speech_deadline)
        except (TimeoutError, NotSpoken) as error:
            speech_failed(call, error)
            session.interrupt(force=True)
            speech = await _first_frame(session, voice, greetings.shipped())
        if presence.hears:
            call.goes_on_by(speech)
            return
        # they left while it began: it begins again when they are back
        session.interrupt(force=True)


def speech_failed(call: Call, error: Exception) -> None:
    """Records that the greeting's audio failed and the shipped one is played: in the log, and as an event of the trace.

    The event is on the root span. After the first word that has been exported, so it is on the span of the task that
    calls this.
    """
    reason = type(error).__qualname__
    logger.warning("the greeting could not be spoken (%s); the shipped one is played", reason)
    used_fallback(error)
    if call.run.outcome is None:
        call.run.event("greeting.shipped", {"reason": reason})
    else:
        otel.get_current_span().add_event("greeting.shipped", {"reason": reason})


async def report_failed_audio(call: Call, greeting: PreparedGreeting) -> None:
    """Waits until all of the greeting's audio has arrived. If it failed, records that as `speech_failed` does."""
    failure = None if greeting.audio is None else await greeting.audio.failure()
    if failure is not None:
        speech_failed(call, failure)


def _begin(call: Call, voice: Voice, greeting: PreparedGreeting) -> Speech:
    """Say the greeting on the voice, from its beginning; the session will take it over."""
    words, audio = greeting.said, greeting.audio
    if audio is None:
        words, audio = greetings.SHIPPED_TEXT, greetings.shipped_audio()
    call.speech = Speech(voice, words, audio.play(), call.run.clock)
    call.at_end(call.speech.stop)
    return call.speech


async def _first_frame(
    session: AgentSession[Any], voice: Voice | None, greeting: PreparedGreeting, deadline: float | None = None
) -> SpeechHandle:
    """Say it; returns at the first frame. deadline: seconds that the audio may take, once somebody has subscribed.

    Raises TimeoutError, NotSpoken.
    """
    subscribed = console.subscribed(session) if voice is None else voice.output.subscribed
    if subscribed is None and session.output.audio is None:
        raise NotSpoken("the session has no audio output")
    async with asyncio.timeout(None) as limit:

        def begin(_: object) -> None:
            if deadline is not None:
                limit.reschedule(asyncio.get_running_loop().time() + deadline)

        if subscribed is not None:  # an output of somebody else's, an avatar's, takes as long as it takes
            subscribed.add_done_callback(begin)
        try:
            return await first_frame(session, lambda: _said(session, greeting))
        finally:
            if subscribed is not None:
                subscribed.remove_done_callback(begin)


def _said(session: AgentSession[Any], greeting: PreparedGreeting) -> SpeechHandle:
    """The session says it, with the audio that is there or by its own engine."""
    if greeting.audio is not None:
        return session.say(greeting.said, audio=greeting.audio.play())
    engine = engine_of(session, session.current_agent)
    if isinstance(engine, llm.RealtimeModel) and not engine.capabilities.supports_say:
        return session.generate_reply(instructions=VERBATIM.format(text=greeting.text))
    return session.say(greeting.said)
