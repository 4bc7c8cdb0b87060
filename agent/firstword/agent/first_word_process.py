"""Prepares a process for `speak_first` before it has a job: LiveKit's `setup_fnc` calls `warm_up`.

Beside `firstword.agent.first_word`. The shipped worker's own is `firstword.agent.process.job_process`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, cast

from livekit.agents import Agent, AgentSession, JobProcess, utils

from firstword.agent import first_word as first_word  # no call shall wait for its import
from firstword.agent.call import console
from firstword.agent.dry_start import start_dry
from firstword.agent.first_word_session import NewSession, session_by
from firstword.agent.greeting.engine import engine_of
from firstword.agent.greeting.spoken_greeting import EVERYBODY, GreetingAudio, owned
from firstword.agent.livekit_private import start_native_runtime
from firstword.agent.unheard import wait_for_the_unheard
from firstword.telemetry.observed_export import make_exporters

logger = logging.getLogger("firstword")

RECORDED_S: Final = 5.0
"""Seconds within which the greeting must be recorded: LiveKit ends a process that takes over 10 to be ready."""


def warm_up(
    process: JobProcess,
    make_session: NewSession,
    *,
    greeting: str | None = None,
    agent: Agent | None = None,
    cache_key: str | None = None,
) -> None:
    """Makes a process ready for its first call: starts and closes a session without a room, and caches the greeting's
    audio. It also makes the exporter of spans.

    process: LiveKit's, as its `setup_fnc` has it. make_session: makes a session as a job does, with new engines each
    time. greeting: a text for everybody, recorded if the cache does not have it yet. agent, cache_key: as for
    `speak_first`. Does nothing in a console. A failure is logged as a warning and not raised; the first call then does
    what is missing.
    """
    if console.here():  # whose sound goes to the first session that starts
        return
    wait_for_the_unheard()
    own = Agent(instructions="") if agent is None else agent
    try:
        asyncio.run(_warm(make_session, own, greeting, cache_key))
        start_native_runtime()
        make_exporters()
    except Exception as error:
        logger.warning("a process is not warm: %s", type(error).__qualname__, exc_info=True)


async def _warm(make_session: NewSession, agent: Agent, greeting: str | None, cache_key: str | None) -> None:
    async with utils.http_context.open():
        # here: they belong to the loop in which they are made
        session, another = await session_by(make_session), await session_by(make_session)
        if _engines(session) & _engines(another):
            # what was used in this context has connections that end with it
            logger.warning("a process is not warm: expected make_session to make new STT, LLM and TTS each time")
            return
        engine = engine_of(session, agent)
        await start_dry(session, Agent(instructions=""))
        if engine is not None:
            await _record(GreetingAudio(engine, agent, cache_key), greeting)


def _engines(session: AgentSession[Any]) -> set[int]:
    engines = cast("tuple[object, ...]", (session.stt, session.llm, session.tts))
    return {id(engine) for engine in engines if engine is not None}


async def _record(audio: GreetingAudio, greeting: str | None) -> None:
    """Record it where it is not kept yet. Without one, the cache is looked at all the same: that is a first use, too."""
    said = owned(greeting or "Hello", of=EVERYBODY)
    try:
        async with asyncio.timeout(RECORDED_S):
            if greeting is None:
                await audio.cached(said)
            else:
                await audio.record(said)
    except Exception as error:
        logger.warning("the greeting is not recorded ahead: %s", type(error).__qualname__)
    finally:
        await audio.aclose()
