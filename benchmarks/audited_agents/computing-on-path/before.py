"""A prompt is computed for each call."""

from __future__ import annotations

import time

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli

server = AgentServer()


def build_prompt() -> str:
    """Computes for some 150 ms."""
    end = time.perf_counter() + 0.15
    while time.perf_counter() < end:
        pass
    return "You are kind."


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """One call."""
    await ctx.connect()
    prompt = build_prompt()
    session = AgentSession[None](stt="deepgram/nova-3", llm="openai/gpt-4.1-mini", tts="cartesia/sonic-3")
    await session.start(agent=Agent(instructions=prompt), room=ctx.room)
    await session.say("Hello, how can I help you today?")


if __name__ == "__main__":
    cli.run_app(server)
