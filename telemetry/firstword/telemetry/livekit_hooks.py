"""Hooks into LiveKit once it is imported: its worker logs what can't be observed, and the starts of its jobs are
observed.

Called by `firstword.telemetry.switch`, in the worker's process, in LiveKit's forkserver, and in the processes of jobs.
Never raises into the agent. Private names are from `firstword.telemetry.livekit_private`.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib
import logging
import os
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from firstword.telemetry import switch
from firstword.telemetry.guard import guarded
from firstword.telemetry.livekit_private import JOB_ENTRYPOINT, JOB_PROCESS
from firstword.telemetry.observable import why_not

if TYPE_CHECKING:
    from livekit.agents import JobContext

logger = logging.getLogger("firstword")

_SAID = "FIRSTWORD_OBSERVE_SAID"
"""What the worker has said already: the processes of its jobs inherit it, and don't say it once more each."""

Entrypoint = Callable[["JobContext"], Awaitable[None]]


def hook_worker(module: ModuleType) -> None:
    """Wraps `AgentServer.run` of LiveKit's worker module, so that the worker warns, before it runs, if starts can't be
    observed.
    """
    run = module.AgentServer.run

    @functools.wraps(run)
    async def say_and_run(server: Any, *arguments: Any, **options: Any) -> None:
        _say_of_worker()
        await run(server, *arguments, **options)

    module.AgentServer.run = say_and_run


def hook_jobs(module: ModuleType) -> None:
    """Wraps LiveKit's class of job processes, so that the start of each job is observed from its entrypoint on."""
    importlib.import_module("firstword.telemetry.observed_start")  # now, where no caller waits for it
    job_process = JOB_PROCESS.of(module)
    if job_process is None:
        _say(_not_seen("livekit-agents makes the processes of its jobs otherwise"))
        return
    make = job_process.__init__

    @functools.wraps(make)
    def make_observed(process: Any, *arguments: Any, **options: Any) -> None:
        make(process, *arguments, **options)
        _observe_job_of(process)

    job_process.__init__ = make_observed


@guarded
def _observe_job_of(process: Any) -> None:
    if entrypoint := JOB_ENTRYPOINT.of(process):
        setattr(process, JOB_ENTRYPOINT.name, observed(entrypoint))


def observed(entrypoint: Entrypoint) -> Entrypoint:
    """Returns the entrypoint wrapped: it begins to observe the job's start first, if the job is one of the share."""

    @functools.wraps(entrypoint)
    async def observe_and_enter(job: JobContext) -> None:
        _begin(job, entrypoint)
        await entrypoint(job)

    return observe_and_enter


@guarded
def _begin(job: JobContext, entrypoint: Entrypoint) -> None:
    try:
        share = switch.share()
    except ValueError:  # the worker has said so
        return
    if job.is_fake_job() or not is_drawn(job.job.id, share):
        return
    if reason := why_not(asyncio.get_running_loop()):
        _say(_not_seen(reason))
    from firstword.telemetry.observed_start import observe_start

    observe_start(job, entrypoint)


def is_drawn(job_id: str, share: float) -> bool:
    """Returns whether the session of this job is one of the share (0 to 1) that is observed. The answer is the same
    wherever it is asked.
    """
    drawn = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") / 2**64
    return drawn < share


@guarded
def _say_of_worker() -> None:
    try:
        if switch.share() == 0:
            return
    except ValueError as error:
        _say(f"{error}; no start is observed")
        return
    loop = asyncio.new_event_loop()  # as LiveKit makes those of jobs
    try:
        if reason := why_not(loop):
            _say(_not_seen(reason))
    finally:
        loop.close()


def _not_seen(reason: str) -> str:
    return f"no start can be observed: {reason}; of each, phases alone are traced, and startup.method is guessed"


def _say(warning: str) -> None:
    if os.environ.get(_SAID) != warning:
        os.environ[_SAID] = warning
        logger.warning("%s", warning)
