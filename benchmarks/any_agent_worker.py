"""LiveKit's quickstart agent as a benchmark runs it: as it is, or as examples/speak_first.py has it (ANY_AGENT=speak_first).

By name, and with a fixed load, since a busy small machine declares itself full. Run by benchmarks.any_agent.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext
from livekit.plugins import deepgram, openai

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))


def load(_: AgentServer) -> float:
    """The load reported to LiveKit."""
    return float(os.environ["FIRSTWORD_FIXED_LOAD"])


async def quickstart(ctx: JobContext) -> None:
    """LiveKit's own: connect, start the session, let the LLM greet."""
    await ctx.connect()
    stt = deepgram.STT(base_url=os.environ["DEEPGRAM_BASE_URL"] + "/listen")
    tts = deepgram.TTS(base_url=os.environ["DEEPGRAM_BASE_URL"] + "/speak")
    session = AgentSession[None](stt=stt, llm=openai.LLM(), tts=tts)
    await session.start(agent=Agent(instructions="You are a helpful voice assistant."), room=ctx.room)
    await session.generate_reply(instructions="Greet the user and offer your assistance.")


server = AgentServer(
    host="127.0.0.1", port=0, load_fnc=load, num_idle_processes=int(os.environ["FIRSTWORD_IDLE_PROCESSES"])
)
if os.environ["ANY_AGENT"] == "speak_first":
    from speak_first import entrypoint, prewarm  # pyright: ignore # found there; processes get it by this module's name

    server.setup_fnc = prewarm  # pyright: ignore
    server.rtc_session(entrypoint, agent_name=os.environ["FIRSTWORD_AGENT_NAME"])  # pyright: ignore
else:
    server.rtc_session(quickstart, agent_name=os.environ["FIRSTWORD_AGENT_NAME"])
