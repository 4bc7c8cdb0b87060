"""LiveKit's quickstart agent with `speak_first`, as benchmarks.any_agent runs it: examples/speak_first.py, by name.

With ANY_AGENT=not_cached its greeting is written for each call. With a fixed load, since a busy small machine declares itself full.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from livekit.agents import Agent, AgentServer, JobContext, JobProcess

from firstword.agent import speak_first, warm_up

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from speak_first import GREETING, entrypoint, new_session, prewarm  # pyright: ignore # found there; processes get it by this module's name


def load(_: AgentServer) -> float:
    """The load reported to LiveKit."""
    return float(os.environ["FIRSTWORD_FIXED_LOAD"])


async def written(job: JobContext) -> str:
    """A greeting of one call: it is nobody's, so it is not cached."""
    return GREETING  # pyright: ignore


async def not_cached(ctx: JobContext) -> None:
    """As the example, with that greeting."""
    agent = Agent(instructions="You are a helpful voice assistant.")
    await speak_first(ctx, new_session, agent=agent, greeting=written)  # pyright: ignore


def warm(process: JobProcess) -> None:
    """As the example, with nothing recorded."""
    warm_up(process, new_session)  # pyright: ignore


server = AgentServer(
    host="127.0.0.1", port=0, load_fnc=load, num_idle_processes=int(os.environ["FIRSTWORD_IDLE_PROCESSES"])
)
called, set_up = (not_cached, warm) if os.environ["ANY_AGENT"] == "not_cached" else (entrypoint, prewarm)  # pyright: ignore
server.setup_fnc = set_up  # pyright: ignore
server.rtc_session(called, agent_name=os.environ["FIRSTWORD_AGENT_NAME"])  # pyright: ignore
