"""The job's metadata names the account."""

from __future__ import annotations

import asyncio
import json

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli

server = AgentServer()


async def read_account(account: str) -> str:
    """A store that takes 120 ms."""
    await asyncio.sleep(0.12)
    return f"You help {account}."


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """One call."""
    account = asyncio.create_task(read_account(json.loads(ctx.job.metadata)["account"]))
    await ctx.connect()
    await ctx.wait_for_participant()
    session = AgentSession[None](stt="deepgram/nova-3", llm="openai/gpt-4.1-mini", tts="cartesia/sonic-3")
    await session.start(agent=Agent(instructions=await account), room=ctx.room)
    await session.say("Hello, how can I help you today?")


if __name__ == "__main__":
    cli.run_app(server)
