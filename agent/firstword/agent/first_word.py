"""Lets any LiveKit agent speak first and set up later: `speak_first` replaces `ctx.connect`, `session.start` and
`session.say`.

The library's one call, on top of the plan in `firstword.agent.first_word_plan`. The shipped worker has a plan of its
own, made of the same parts (`firstword.agent.call`).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from dataclasses import dataclass
from typing import Any, cast

from livekit.agents import NOT_GIVEN, Agent, AgentSession, JobContext, NotGivenOr
from livekit.agents.voice import room_io
from livekit.agents.voice.agent_session import RecordingOptions
from livekit.agents.voice.speech_handle import SpeechHandle

from firstword.agent import livekit_private
from firstword.agent.cache.cache import Cache
from firstword.agent.call import console, ending
from firstword.agent.call.call import Call
from firstword.agent.call_settings import DEFAULTS, CallSettings
from firstword.agent.dispatch_end import delete_dispatch_at_end
from firstword.agent.first_word_plan import (
    EARLY_SPEECH,
    EARLY_VOICE,
    FirstWord,
    GreetingFunction,
    completed,
    speak_first_plan,
)
from firstword.agent.first_word_session import MadeSession, NewSession, how_it_speaks, session_by
from firstword.agent.greeting.engine import speaks_differently
from firstword.agent.greeting.greeting import SHIPPED_TEXT
from firstword.agent.greeting.spoken_greeting import Greeting
from firstword.agent.greeting.text import interrupted_greeting
from firstword.agent.interruption import is_interrupted
from firstword.agent.preloading import preload
from firstword.agent.process_end import at_process_end
from firstword.agent.unheard import Unheard
from firstword.telemetry.export import Exporting
from firstword.telemetry.livekit import declared_start, job_instants, start_of
from firstword.telemetry.observed_export import exporting_of
from firstword.telemetry.plan import Plan, PlanError
from firstword.telemetry.run import Run
from firstword.telemetry.vocabulary import CONNECTED_BEFORE, INTERRUPTED

logger = logging.getLogger("firstword")

INTERRUPTED_TEXT = interrupted_greeting("en")
SPOKEN_S = 60.0
"""Seconds for a greeting's audio to arrive and be cached. A start that never ends would never be exported whole."""
_FINISHED_S = 2.5
"""Seconds that it waits for what is still being written for the next call."""
_PLAN = speak_first_plan()
preload("firstword.agent.first_word_process")
PROCESS = "firstword.first_word"
"""Key of a process's `userdata` under which a test puts a `FirstWordProcess`."""


@dataclass(frozen=True)
class FirstWordProcess:
    """Replaces, in a test's process, what the environment says: where spans are exported, and where greetings are
    cached.
    """

    exporting: Exporting
    cache: Cache


async def speak_first(
    ctx: JobContext,
    session: AgentSession[Any] | NewSession,
    *,
    agent: Agent,
    greeting: str | Greeting | GreetingFunction,
    interrupted: str | Greeting | GreetingFunction = INTERRUPTED_TEXT,
    cache_key: str | None = None,
    plan: Plan | None = None,
    room_options: room_io.RoomOptions | None = None,
    record: NotGivenOr[bool | RecordingOptions] = NOT_GIVEN,
    settings: CallSettings = DEFAULTS,
) -> SpeechHandle | None:
    """Greets the caller as soon as they can hear it, then starts the session, which goes on with the greeting.

    It replaces `ctx.connect`, `session.start` and `session.say`. session: not started, of any STT, LLM, TTS or realtime
    model. Or a function that makes it, async or not; it is called while the room connects. greeting: a text for
    everybody, or an async function that returns a `Greeting` or a text. The function's parameters are what it needs, by
    name: `job`, `caller`, the plan's tasks. interrupted: said instead to a caller whose agent has died, where
    `firstword rescue` runs. cache_key: your name for the voice, if it cannot be read from the engine. plan: `speak_first_plan()` with tasks of your own. room_options, record: as for `AgentSession.start`. settings: time
    limits and more of the call.

    Returns the greeting's speech handle once the session runs. Returns None if nobody was greeted; then the call and
    the job end. Raises RuntimeError if this job has called it already, and PlanError for a plan that can't be run.
    """
    if declared_start(ctx) is not None:
        raise RuntimeError("expected one call of speak_first for a job; possible cause: a second session in it")
    process: FirstWordProcess | None = ctx.proc.userdata.get(PROCESS)
    exporting = _exporting(ctx) if process is None else process.exporting
    cache = None if process is None else process.cache
    given: MadeSession | None = None
    if isinstance(session, AgentSession):
        given = how_it_speaks(cast("AgentSession[Any]", session), agent, cache_key, cache)
    function = cast("NewSession", session)

    async def make() -> MadeSession:
        return given or how_it_speaks(await session_by(function), agent, cache_key, cache)

    first_word = FirstWord(agent=agent, room_options=room_options or room_io.RoomOptions(), record=record, make=make)
    again = _is_interrupted(ctx)
    complete = _complete(plan or _PLAN, interrupted if again else greeting)
    call = _compose(ctx, first_word, given, complete, exporting, settings)
    if again:
        call.run.attributes[INTERRUPTED] = True
    performing = asyncio.create_task(ending.perform(call), name="speak_first")

    async def close(reason: str) -> None:  # LiveKit takes functions and methods only
        ending.closes(call, reason)
        await asyncio.wait({performing}, timeout=_FINISHED_S)
        performing.cancel()
        async with call.closing:
            await asyncio.gather(performing, return_exceptions=True)

    delete_dispatch_at_end(ctx)
    ctx.add_shutdown_callback(close)
    taken_over = asyncio.ensure_future(call.taken_over.wait())
    try:
        await asyncio.wait({performing, taken_over}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        performing.cancel()
        raise
    finally:
        taken_over.cancel()
    if performing.done():
        performing.result()
    return call.said


def _is_interrupted(job: JobContext) -> bool:
    secret = os.environ.get("LIVEKIT_API_SECRET", "")
    return bool(secret) and is_interrupted(job.job.metadata, job.job.room.name, secret, now=time.time())


def _exporting(job: JobContext) -> Exporting:
    exporting = exporting_of(job)
    _export_at_end(exporting)
    return exporting


@functools.cache
def _export_at_end(exporting: Exporting) -> None:
    at_process_end(exporting.shutdown)


def _complete(plan: Plan, greeting: str | Greeting | GreetingFunction) -> Plan:
    """The plan with this greeting, or with the shipped one where the plan has not what this one needs. Raises PlanError."""
    try:
        return completed(plan, greeting)
    except PlanError as error:
        whole = completed(plan, SHIPPED_TEXT)
        logger.error("the greeting can't be written: %s. The caller hears what ships with firstword", error)
        return whole


def _compose(
    job: JobContext,
    first_word: FirstWord,
    given: MadeSession | None,
    plan: Plan,
    exporting: Exporting,
    settings: CallSettings,
) -> Call:
    """The job's call: the plan in the shape that session and room allow, a run of it, and the state its tasks share.

    given: None for a session that a function makes later. It is a new one.
    """
    connected = job.room.isconnected()
    if console.here():
        console.prepare(job)
    listens = first_word.room_options.get_audio_input_options()
    speaks = first_word.room_options.get_audio_output_options()
    running = given is not None and given.running
    own_output = given is not None and given.session.output.audio is not None
    own_input = given is not None and given.session.input.audio is not None
    early_voice = speaks is not None and not (running or own_output or console.here())
    early_voice = early_voice and livekit_private.audio_is_known()
    if given is None:
        by_engine = not speaks_differently(first_word.agent, None)
    else:
        by_engine = given.audio is not None or not given.speaks
    run, trace = start_of(
        job,
        plan.shape({EARLY_VOICE: early_voice, EARLY_SPEECH: early_voice and by_engine}),
        exporting,
        given={"call": None, "first_word": first_word},
        deadlines={
            "made_session": settings.greeting_deadline,
            "greeting_text": settings.greeting_deadline,
            "session": settings.start_timeout,
            "greeting_cache": SPOKEN_S,
        },
    )
    call = Call(
        job=job,
        settings=settings,
        run=run,
        trace=trace,
        unheard=Unheard(job.job.id),
        caller=asyncio.get_running_loop().create_future(),
        light=not connected,
        audio_input=None if running or own_input else listens,
        audio_output=speaks or room_io.AudioOutputOptions(),
    )
    run.give("call", call)
    if connected and not console.here():
        _tell_connected(job, run)
    return call


def _tell_connected(job: JobContext, run: Run) -> None:
    """The trace and one line say what went before: the agent's own connect is among it."""
    at = job_instants(job)
    begun = at.get("launched", at.get("received"))
    if begun is not None:
        run.attributes[CONNECTED_BEFORE] = max(run.clock() - begun, 0) / 1e9
    logger.info("the room was joined before speak_first, which joins it in less time")
