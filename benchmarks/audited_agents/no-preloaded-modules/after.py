"""The process from which all others come has imported the agent's modules."""

from __future__ import annotations

import heavy  # pyright: ignore # beside this file
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli

server = AgentServer(num_idle_processes=1, preload_modules=["heavy"])


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """One call."""
    await ctx.connect()
    session = AgentSession[None](stt="deepgram/nova-3", llm="openai/gpt-4.1-mini", tts="cartesia/sonic-3")
    await session.start(agent=Agent(instructions=heavy.PROMPT), room=ctx.room)
    await session.say("Hello, how can I help you today?")


if __name__ == "__main__":
    cli.run_app(server)
