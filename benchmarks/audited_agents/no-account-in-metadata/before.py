"""An account is read once the caller has said who they are."""

from __future__ import annotations

import asyncio

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli

server = AgentServer()


async def read_account(account: str) -> str:
    """A store that takes 120 ms."""
    await asyncio.sleep(0.12)
    return f"You help {account}."


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """One call."""
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    account = await read_account(caller.identity)
    session = AgentSession[None](stt="deepgram/nova-3", llm="openai/gpt-4.1-mini", tts="cartesia/sonic-3")
    await session.start(agent=Agent(instructions=account), room=ctx.room)
    await session.say("Hello, how can I help you today?")


if __name__ == "__main__":
    cli.run_app(server)
