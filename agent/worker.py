"""The shipped worker, for LiveKit: `python -m livekit.agents start agent/worker.py` finds `server` here."""

from firstword.agent.worker import server as server
