"""The session that a `speak_first` starts: given, or made by a function while the room connects; and how it speaks.

Under the plan of `firstword.agent.first_word_plan`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from livekit.agents import Agent, AgentSession

from firstword.agent.cache.cache import Cache
from firstword.agent.call import console
from firstword.agent.greeting.engine import engine_of, speaks_differently
from firstword.agent.greeting.spoken_greeting import GreetingAudio

logger = logging.getLogger("firstword")

NewSession: TypeAlias = "Callable[[], AgentSession[Any] | Awaitable[AgentSession[Any]]]"
"""Makes one call's session, which it neither starts nor gives an audio output. It may be an async function."""


@dataclass(frozen=True, kw_only=True)
class MadeSession:
    """A call's session, and how its greeting is spoken. Of a function that failed: the error, and nothing that speaks."""

    made: AgentSession[Any] | None = None
    failure: Exception | None = None
    """Why there is no session."""
    audio: GreetingAudio | None = None
    """Makes the greeting's audio; None where only the session can."""
    speaks: bool = False
    """Whether something in the session speaks: a TTS or a realtime model."""
    running: bool = False
    """Whether the session had been started before `speak_first`."""

    @property
    def session(self) -> AgentSession[Any]:
        """Returns the session. Raises what the function raised that should have made it."""
        if self.made is None:
            raise self.failure or RuntimeError("expected a session")
        return self.made


def how_it_speaks(session: AgentSession[Any], agent: Agent, cache_key: str | None, cache: Cache | None) -> MadeSession:
    """Returns how the session speaks. Logs a line if nothing speaks in it, or it was started before.

    cache_key: the user's name for the voice. cache: where the greeting's audio is kept, instead of the environment's.
    """
    engine = engine_of(session, agent)
    # in a console the first session that starts gets the sound: none may be recorded before the caller's
    by_session = engine is not None and (console.here() or speaks_differently(agent, engine))
    running = _runs(session)
    if engine is None:
        logger.error(
            "nothing in the session speaks; expected a TTS or a realtime model. The caller hears what ships with firstword"
        )
    if running:
        logger.warning("the session was started before speak_first, which would have started it after the first word")
    return MadeSession(
        made=session,
        audio=None if engine is None or by_session else GreetingAudio(engine, agent, cache_key, cache),
        speaks=engine is not None,
        running=running,
    )


async def session_by(make: NewSession) -> AgentSession[Any]:
    """Returns the session that the function makes. Raises what it raises, and TypeError if it returns no session.

    Raises ValueError for a session that was started, or has an audio input or output already.
    """
    result = make()
    session = await result if inspect.isawaitable(result) else result
    if not isinstance(session, AgentSession):  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's function
        raise TypeError(f"expected a function that returns an AgentSession, not {type(session).__qualname__}")
    if _runs(session) or session.output.audio is not None or session.input.audio is not None:
        raise ValueError(
            "expected a function that makes a new session; possible cause: it was started, or was given audio of its "
            "own, which is only possible with session=SESSION"
        )
    return session


def _runs(session: AgentSession[Any]) -> bool:
    try:
        _ = session.current_agent
    except RuntimeError:
        return False
    return True
