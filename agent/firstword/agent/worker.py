"""The shipped worker: `agent/worker.py`, the file that LiveKit is told to start, takes its `server` from here.

What a process prepares before a job is in `firstword.agent.process.job_process`, what a job runs in
`firstword.agent.entrypoint`. Neither is imported here: the worker's own process never runs a session.
"""

from __future__ import annotations

from firstword.agent.process import gc_off  # isort: skip

import argparse
import asyncio
import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from livekit.agents import NOT_GIVEN, AgentServer, JobContext, JobExecutorType, JobProcess, NotGivenOr

from firstword.agent import env_file, livekit_private, run_folder
from firstword.agent.flags.flag_source import FlagSourceError, other_provider
from firstword.agent.flags.improvements import DRAWN, UnknownFlag, profile
from firstword.agent.flags.last_good import LastGoodKeeper
from firstword.agent.health import Health
from firstword.agent.parts import check_parts
from firstword.agent.process import log_redaction, start_metrics
from firstword.agent.process.caches import opened_caches
from firstword.agent.process.deletion import keep_deleting
from firstword.agent.process.prefetch import Prefetch
from firstword.agent.process.tool_check import missing_tools
from firstword.agent.settings import Settings, SettingsError, account_sources, claim_key_missing, may_be, settings
from firstword.telemetry import switch
from firstword.telemetry.arrival import warn_where_nothing_arrives
from firstword.telemetry.service import service_resource

logger = logging.getLogger("firstword")

PRELOADED = "firstword.agent.process.preload"
"""Module that is imported once in the forkserver and shared by every job's process."""


_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
INITIALIZE_S = 30.0
"""Seconds after which LiveKit kills a process that is not ready; its own 10 are too few on a machine that is busy."""
CLOSED_S = 10.0
"""Seconds that the tasks beside the jobs may take to end. Their store gives a statement that is under way 5 s."""


class Worker(AgentServer):
    """LiveKit's worker, which caches common accounts and greetings before it takes jobs, and keeps them fresh while it
    runs.
    """

    _first_round: asyncio.Event
    """Set when the first prefetch is done, has taken too long, or is not wanted any more."""
    _fresh: asyncio.Task[None] | None = None
    """The task that prefetches accounts and greetings, and keeps them fresh."""
    _deleting: asyncio.Task[None] | None = None
    """The task that deletes cached data of deleted accounts."""
    _ended: set[asyncio.Task[None]]
    """Those of the two that were told to end."""
    health: Health
    """How it is, for probes and gauges."""

    async def run(self, *, devmode: bool = False, unregistered: bool = False) -> None:
        """Runs the worker until it is closed; with `unregistered` it takes no jobs from a server (a console).

        Ends the process with one line and exit code 1 where LiveKit would log a traceback and exit with 0. So it does
        when the server does not take the worker after all retries, and when the health check's port is taken. So it
        does, too, when there is no folder for temporary files, or accounts list a tool that nobody has.
        """
        _end_on_hangup()
        config = settings()
        if config.redaction == "on":
            log_redaction.install()
        if unnamed := claim_key_missing(account_sources(config.account_sources), key=config.claim_key is not None):
            logger.warning("%s", unnamed)
        if config.http_host not in _LOOPBACK:
            logger.warning(
                "the health check listens on %s: who reaches it learns name, load and jobs", config.http_host
            )
        for doubt in env_file.read().faults_in(os.environ):
            logger.warning("%s", doubt)
        livekit_private.preload_no_turn_detector()
        livekit_private.hear_ctrl_c_while_processes_start(asyncio.get_running_loop())
        if unregistered or config.executor == "thread":  # jobs are threads of this process
            importlib.import_module(PRELOADED)  # here, since LiveKit's plugins register on the main thread alone
            livekit_private.start_native_runtime()
        # daemon: a worker that ends does not wait for a receiver's answer
        threading.Thread(target=warn_where_nothing_arrives, name="empty exports", daemon=True).start()
        self._first_round, self._ended = asyncio.Event(), set[asyncio.Task[None]]()
        try:
            folder = run_folder.make()
        except OSError as error:
            what = f"no folder for temporary files can be written to ({error.strerror})"
            _exit(f"{what}; possible cause: a read-only root without a volume at /tmp, or a full disk")
            return
        with contextlib.ExitStack() as running:
            running.callback(run_folder.remove)
            meter = running.enter_context(start_metrics.recorded(folder, service_resource()))
            if config.profile is None and other_provider(config.flag_provider) is None:
                running.enter_context(LastGoodKeeper(DRAWN))
            async with self.health.observed(meter), asyncio.TaskGroup() as beside:
                self._fresh = beside.create_task(self._keep_fresh(config))
                self._deleting = beside.create_task(keep_deleting(config))
                try:
                    if unregistered:  # a console, whose only session begins at once
                        await self._first_round.wait()
                    if self._fresh not in self._ended:
                        await self._served(devmode=devmode, unregistered=unregistered)
                finally:
                    self._end(self._fresh)
                    self._end(self._deleting)

    async def _keep_fresh(self, config: Settings) -> None:
        async with contextlib.aclosing(Prefetch(config)) as prefetch:
            try:
                if missing := await missing_tools(config):
                    _exit(missing)
                    await asyncio.Event().wait()  # until that ends the process: the worker does not register
                await prefetch.first_round()
            finally:
                self._first_round.set()
            await prefetch.keep_fresh()

    def _make_nothing_ahead(self) -> None:
        if self._fresh is not None:
            self._end(self._fresh)

    def _end(self, task: asyncio.Task[None]) -> None:
        """Cancel it, once: a second time would end what the first has it close."""
        if task not in self._ended:
            self._ended.add(task)
            task.cancel()

    async def _connection_task(self) -> None:
        """Register once what is made ahead is there; processes for jobs, which take seconds to import, are made meanwhile.

        Private to LiveKit (livekit-agents 1.8.9, `worker.py`): `run` begins it when all else of the worker is up.
        """
        await self._first_round.wait()
        if self._fresh is not None and self._fresh not in self._ended:
            await super()._connection_task()

    async def drain(self, timeout: NotGivenOr[int | None] = NOT_GIVEN) -> None:
        """Stops prefetching and waits for the running jobs to end."""
        self._make_nothing_ahead()
        await super().drain(timeout)

    async def aclose(self) -> None:
        """Ends the worker. A console that still waits for the first prefetch then has no session.

        Returns when the tasks beside the jobs have closed their stores, or after `CLOSED_S` seconds. LiveKit's command
        then cancels every task. A connection to SQLite that is cancelled as it closes keeps its thread, which keeps the
        process.
        """
        self._make_nothing_ahead()
        await super().aclose()
        beside = [task for task in (self._fresh, self._deleting) if task is not None]
        for task in beside:
            self._end(task)
        if beside:
            await asyncio.wait(beside, timeout=CLOSED_S)

    async def _served(self, *, devmode: bool, unregistered: bool) -> None:
        try:
            with livekit_private.lost_connection_unlogged():
                await super().run(devmode=devmode, unregistered=unregistered)
        except RuntimeError as error:
            if not livekit_private.is_lost_connection(error):
                raise
            with contextlib.suppress(TimeoutError):
                await self.drain()  # the sessions that run have rooms of their own
            await self.aclose()
            parts = urlsplit(settings().livekit_url)
            place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            what = f"LIVEKIT_URL is {place}, and no LiveKit server took the worker there ({error})"
            _exit(f"{what}; possible cause: it is down, or LIVEKIT_API_KEY or LIVEKIT_API_SECRET is not its own")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            what = f"the port of the worker's health check is taken ({error.strerror})"
            _exit(f"{what}; FIRSTWORD_HTTP_PORT: expected {may_be('http_port')}")


def _end_on_hangup() -> None:
    """A terminal that closes ends the worker as SIGTERM does, unless it runs under `nohup`; LiveKit leaves SIGHUP alone."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda _number, _frame: signal.raise_signal(signal.SIGTERM))


def _exit(message: str) -> None:
    """End the process by way of the event loop: as the result of a task asyncio would log it with a traceback."""
    asyncio.get_running_loop().call_soon(sys.exit, message)


def _server() -> Worker:
    _take_what_was_typed(sys.argv[1:])
    try:
        config = settings()
        other_provider(config.flag_provider)
        profile(config.profile or "tuned")
        opened_caches(config, profile("tuned"))
        check_parts(config)
    except (SettingsError, UnknownFlag, FlagSourceError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line that says which variable is wrong
        raise SystemExit(2) from None
    if switch.asked():  # in `.env.local` too, which Python's start knows nothing of
        switch.register()
    options: dict[str, object] = {}
    if config.idle_processes is not None:
        options["num_idle_processes"] = config.idle_processes
    if config.fixed_load is not None:
        options["load_fnc"] = _reported(config.fixed_load)
    if config.http_port is not None:
        options["port"] = config.http_port
    if config.drain is not None:
        options["drain_timeout"] = config.drain
    made = Worker(
        job_executor_type=JobExecutorType(config.executor),
        ws_url=config.livekit_url,
        api_key=config.livekit_api_key.get_secret_value(),
        api_secret=config.livekit_api_secret.get_secret_value(),
        setup_fnc=set_up,
        preload_modules=[PRELOADED],
        initialize_process_timeout=INITIALIZE_S,
        host=config.http_host,
        **options,  # type: ignore[arg-type]
    )
    made.health = Health(made, host=config.http_host)
    made.rtc_session(entrypoint, agent_name=config.agent_name)
    return made


def _take_what_was_typed(arguments: Sequence[str]) -> None:
    """Let LiveKit's own options count as settings: it hands them over only after the settings were read."""
    options = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for name in ("--url", "--api-key", "--api-secret"):
        options.add_argument(name)
    try:
        typed, _ = options.parse_known_args(arguments)
    except argparse.ArgumentError:  # LiveKit says so itself
        return
    os.environ.update({f"LIVEKIT_{name.upper()}": value for name, value in vars(typed).items() if value})


class _reported:
    """A load function that always says the same; a class, since LiveKit hands it to other processes."""

    def __init__(self, load: float) -> None:
        self._load = load

    def __call__(self) -> float:
        return self._load


def set_up(process: JobProcess) -> None:
    """Prepares a job's process, or its thread, before it has a job: see `firstword.agent.process.job_process.set_up`."""
    from firstword.agent.process.job_process import set_up

    if (
        threading.current_thread() is threading.main_thread()
    ):  # a process: LiveKit lets it ignore SIGINT and SIGTERM only
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    set_up(process)


async def entrypoint(job: JobContext) -> None:
    """Runs one job: the call of one caller, from start to session."""
    from firstword.agent.entrypoint import conduct
    from firstword.agent.process.job_process import of

    await conduct(job, of(job.proc))


server = _server()
gc_off.collect_from_now_on()
