"""A model is loaded before any job."""

from __future__ import annotations

import time

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, cli

server = AgentServer()


class VAD:
    """A model that is loaded in some 150 ms."""

    @classmethod
    def load(cls) -> VAD:
        """Computes, as reading weights does."""
        end = time.perf_counter() + 0.15
        while time.perf_counter() < end:
            pass
        return cls()


def set_up(process: JobProcess) -> None:
    """In an idle process."""
    process.userdata["vad"] = VAD.load()


server.setup_fnc = set_up


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """One call."""
    await ctx.connect()
    session = AgentSession[None](stt="deepgram/nova-3", llm="openai/gpt-4.1-mini", tts="cartesia/sonic-3")
    await session.start(agent=Agent(instructions="You are kind."), room=ctx.room)
    await session.say("Hello, how can I help you today?")


if __name__ == "__main__":
    cli.run_app(server)
