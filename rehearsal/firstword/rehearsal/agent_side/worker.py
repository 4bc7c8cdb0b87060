"""Holds LiveKit's worker of the agent to the audit's server, and lets it take every job."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from firstword.telemetry.livekit_private import JOB_PROCESS

from . import livekit_private as private
from .facts import write_fact
from .settings import AuditSettings


def hold(settings: AuditSettings, module: ModuleType) -> None:
    """Makes each LiveKit worker that this process runs use the audit's server and take every job, and writes down facts
    about it.

    module: LiveKit's module `livekit.agents.worker`, just imported.
    """
    run = module.AgentServer.run

    @functools.wraps(run)
    async def held_run(server: Any, *arguments: Any, **options: Any) -> None:
        server.load_fnc = no_load
        server.update_options(
            ws_url=settings.environment["LIVEKIT_URL"],
            api_key=settings.environment["LIVEKIT_API_KEY"],
            api_secret=settings.environment["LIVEKIT_API_SECRET"],
        )
        # its page of health would be on all interfaces, on a port that another worker may have
        for name, value in ((private.HOST, "127.0.0.1"), (private.PORT, 0), (private.HTTP_PROXY, None)):
            setattr(server, name.name, value)
        write_fact(settings.facts, "worker", **_known_of(server, module))
        logger = logging.getLogger("livekit.agents")
        if not logger.isEnabledFor(logging.INFO):  # the audit reads in the log how the worker stands
            logger.setLevel(logging.INFO)
        await run(server, *arguments, **options)

    module.AgentServer.run = held_run


def note_jobs(settings: AuditSettings, module: ModuleType) -> None:
    """Makes each process that runs a job write down its id as a fact, when the job begins.

    module: LiveKit's module `livekit.agents.ipc.job_proc_lazy_main`, just imported.
    """
    job_process = JOB_PROCESS.of(module)
    start = None if job_process is None else private.START_JOB.of(job_process)
    if start is None:
        return

    @functools.wraps(start)
    def noted_start(*arguments: Any, **options: Any) -> Any:
        write_fact(settings.facts, "job", pid=os.getpid())
        return start(*arguments, **options)

    setattr(job_process, private.START_JOB.name, noted_start)


def _known_of(server: Any, module: ModuleType) -> dict[str, Any]:
    """What the report and the floor need to know of the worker; what LiveKit has moved is left out."""
    executor, idle = private.EXECUTOR.of(server), private.IDLE.of(server)
    known = {
        "agent_name": private.AGENT_NAME.of(server),
        "executor": getattr(executor, "value", None),
        "idle": None if idle is None else module.ServerEnvOption.getvalue(idle, False),
    }
    return {
        **{name: value for name, value in known.items() if value is not None},
        "set_up": private.SETUP.of(server) is not None,
        "preloads": list(private.PRELOADED.of(server) or ()),
    }


def no_load() -> float:
    """Returns a load of 0. A busy small machine would declare itself full otherwise, and LiveKit's server would refuse it as well."""
    return 0.0


def keep_environment(settings: AuditSettings, module: ModuleType) -> None:
    """Makes `load_dotenv(override=True)` leave the addresses and keys of the audit as they are.

    module: python-dotenv's module, just imported.
    """
    load: Callable[..., bool] = module.load_dotenv

    @functools.wraps(load)
    def load_and_keep(*arguments: Any, **options: Any) -> bool:
        found = load(*arguments, **options)
        os.environ.update(settings.environment)
        return found

    setattr(module, "load_dotenv", load_and_keep)  # noqa: B010 # a module's attribute, of a library that may not be here
