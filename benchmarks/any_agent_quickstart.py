"""LiveKit's quickstart agent as it is, as benchmarks.any_agent runs it: by name.

With a fixed load, since a busy small machine declares itself full.
"""

from __future__ import annotations

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext
from livekit.plugins import deepgram, openai


def load(_: AgentServer) -> float:
    """The load reported to LiveKit."""
    return float(os.environ["FIRSTWORD_FIXED_LOAD"])


server = AgentServer(
    host="127.0.0.1", port=0, load_fnc=load, num_idle_processes=int(os.environ["FIRSTWORD_IDLE_PROCESSES"])
)


@server.rtc_session(agent_name=os.environ["FIRSTWORD_AGENT_NAME"])
async def entrypoint(ctx: JobContext) -> None:
    """LiveKit's own: connect, start the session, let the LLM greet."""
    await ctx.connect()
    stt = deepgram.STT(base_url=os.environ["DEEPGRAM_BASE_URL"] + "/listen")
    tts = deepgram.TTS(base_url=os.environ["DEEPGRAM_BASE_URL"] + "/speak")
    session = AgentSession[None](stt=stt, llm=openai.LLM(), tts=tts)
    await session.start(agent=Agent(instructions="You are a helpful voice assistant."), room=ctx.room)
    await session.generate_reply(instructions="Greet the user and offer your assistance.")
