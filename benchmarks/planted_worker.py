"""The worker with `benchmarks.planted` in it: LiveKit finds `server` in this file, as it does in agent/worker.py."""

from __future__ import annotations

from livekit.agents import JobProcess

from benchmarks.planted import plant
from firstword.agent.process import job_process
from firstword.agent.worker import server


def set_up(process: JobProcess) -> None:
    """Prepare a job's process as the worker does, then plant; by reference, since LiveKit calls it in that process."""
    from firstword.agent import startup  # after the fork, as in agent/worker.py

    job_process.set_up(process)
    plant(startup.plan)


server.setup_fnc = set_up
