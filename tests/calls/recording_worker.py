"""The shipped worker, whose jobs write down what they send: LiveKit finds `server` in this file, as it does in agent/worker.py."""

from __future__ import annotations

from livekit.agents import JobProcess

from firstword.agent import worker
from firstword.agent.worker import server


def set_up(job_process: JobProcess) -> None:
    """Prepare a job's process as the worker does, then record; by reference, since LiveKit calls it in that process."""
    from tests.calls.sent import record  # after the fork, as what a session needs in agent/worker.py

    worker.set_up(job_process)
    record()


server.setup_fnc = set_up
