"""LiveKit's quickstart agent as a benchmark runs it: by name, and with a fixed load, since a busy small machine declares itself full."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from livekit.agents import AgentServer

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from quickstart import entrypoint  # pyright: ignore # found there; processes get it by this module's name


def load(_: AgentServer) -> float:
    """The load reported to LiveKit."""
    return float(os.environ["FIRSTWORD_FIXED_LOAD"])


server = AgentServer(
    host="127.0.0.1", port=0, load_fnc=load, num_idle_processes=int(os.environ["FIRSTWORD_IDLE_PROCESSES"])
)
server.rtc_session(entrypoint, agent_name=os.environ["FIRSTWORD_AGENT_NAME"])  # pyright: ignore
