"""A LiveKit agent as anybody writes one: it knows nothing of firstword. Run by test_observed.py."""

import asyncio
import os
import time

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobExecutorType, cli
from livekit.plugins import deepgram, openai

BASE_URL = os.environ.get("DEEPGRAM_BASE_URL", "")
server = AgentServer(
    host="127.0.0.1",
    port=0,
    job_executor_type=JobExecutorType(os.environ.get("EXECUTOR", "process")),
    multiprocessing_context="spawn" if os.environ.get("CONTEXT") == "spawn" else "forkserver",
)


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are a helpful voice assistant.")

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Greet the user.")


async def read_account() -> str:
    await asyncio.sleep(0.3)
    return "Ada"


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await read_account()
    time.sleep(0.1)  # noqa: ASYNC251 # a library that blocks
    session = AgentSession[None](
        stt=deepgram.STT(base_url=BASE_URL + "/listen"),
        llm=openai.LLM(),
        tts=deepgram.TTS(base_url=BASE_URL + "/speak"),
    )
    await session.start(agent=Assistant(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
