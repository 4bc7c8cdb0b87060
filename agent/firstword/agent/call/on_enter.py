"""Drops what an agent's `on_enter` says before the greeting is over, since the caller has been greeted already.

Around the start of LiveKit's session, which calls `on_enter`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from livekit.agents import Agent, AgentSession, SpeechCreatedEvent

logger = logging.getLogger("firstword")

_entering: ContextVar[bool] = ContextVar("firstword_entering", default=False)


def hush_on_enter(session: AgentSession[Any], agent: Agent, greeted: Callable[[], bool]) -> None:
    """Drops, from now on, each speech that the agent's `on_enter` begins before `greeted` returns True. Warns once."""
    if type(agent).on_enter is Agent.on_enter:
        return
    on_enter = agent.on_enter
    dropped = False

    async def entering() -> None:
        _entering.set(True)
        await on_enter()

    def created(event: SpeechCreatedEvent) -> None:
        nonlocal dropped
        if not _entering.get() or greeted():
            return
        event.speech_handle.interrupt(force=True)
        if not dropped:
            dropped = True
            logger.warning(
                "what on_enter of %s says is dropped: the caller has been greeted; expected: no say and no "
                "generate_reply in on_enter",
                type(agent).__qualname__,
            )

    agent.on_enter = entering  # LiveKit calls it on the object
    session.on("speech_created", created)
