"""Starts a session without a room and closes it again. So a process's first caller does not pay for its first uses.

A fresh process pays for every first use: lazy imports, TLS contexts, LiveKit's native runtime. LiveKit's own preloading
takes some of it; one dry start takes the rest, about a tenth of a second of CPU.
"""

from __future__ import annotations

from typing import Any

from livekit.agents import Agent, AgentSession


async def start_dry(session: AgentSession[Any], agent: Agent) -> None:
    """Starts the session without a room, and closes it. Raises what LiveKit raises when it can't be started at all.

    It opens the connections that LiveKit's own prewarming opens. Call it inside `utils.http_context.open()`: no HTTP
    context exists before a job, and plugins keep the one that they were first used in.
    """
    try:
        await session.start(agent=agent)
    finally:
        await session.aclose()
