"""The greeting is said before the session is started. It is not kept, so that both sides ask the voice for it."""

from __future__ import annotations

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli

from firstword.agent import speak_first

server = AgentServer()


async def greet() -> str:
    """The same text for everybody."""
    return "Hello, how can I help you today?"


def new_session() -> AgentSession[None]:
    """Of one call, while its room connects."""
    return AgentSession[None](stt="deepgram/nova-3", llm="openai/gpt-4.1-mini", tts="cartesia/sonic-3")


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """One call."""
    await speak_first(ctx, new_session, agent=Agent(instructions="You are kind."), greeting=greet)


if __name__ == "__main__":
    cli.run_app(server)
