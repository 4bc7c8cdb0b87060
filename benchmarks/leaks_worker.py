"""The worker of `benchmarks.leaks`: each job's loop writes down what tasks are left in it when it ends.

LiveKit finds `server` in this file, as it does in agent/worker.py.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path

from livekit.agents import JobProcess
from livekit.agents.telemetry import loop_monitor

from firstword.agent import worker
from firstword.agent.worker import server


def set_up(job_process: JobProcess) -> None:
    """Prepare a job's process as the worker does, then watch; by reference, since LiveKit calls it in that process."""
    worker.set_up(job_process)
    _watch()


@cache
def _watch() -> None:
    """Once a process, however many threads it has."""
    stop = loop_monitor.stop_monitoring

    def look(loop: asyncio.AbstractEventLoop) -> None:
        # livekit-agents 1.8.9, ipc/proc_client.py: called when a job's loop has run, before what is left is cancelled
        stop(loop)
        with Path(os.environ["LEAKS_TASKS_LEFT"]).open("a") as file:
            for task in asyncio.all_tasks(loop):
                print(task.get_name(), getattr(task.get_coro(), "__qualname__", ""), file=file)

    loop_monitor.stop_monitoring = look


server.setup_fnc = set_up
