"""Prepares a process of the worker before any job: settings, store, caches, exporting.

Called by LiveKit's `setup_fnc`: in the process that will run the job, or in the job's thread, before its event loop
exists. Either runs one job and ends (livekit-agents 1.8.9, `ipc/job_thread_executor.py:265`), so a `Process` here is
one job's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

from livekit.agents import JobProcess
from livekit.agents import telemetry as livekit_telemetry
from opentelemetry.sdk.resources import Resource

from firstword.agent.accounts.account_cache import AccountCache
from firstword.agent.accounts.account_store import AccountStore, StoreError
from firstword.agent.accounts.model import GENERIC, Account, GreetingFields
from firstword.agent.conversation.components import Components
from firstword.agent.failures import Failing
from firstword.agent.flags.assignment import Assignment, draw_process
from firstword.agent.flags.improvements import Improvement
from firstword.agent.greeting.audio_cache import AudioCache
from firstword.agent.parts import WorkerParts
from firstword.agent.process import log_redaction, start_metrics
from firstword.agent.process.caches import Caches, opened_caches
from firstword.agent.process.first_use import dry_start, first_reads
from firstword.agent.process_end import at_process_end
from firstword.agent.settings import Settings, settings
from firstword.agent.unheard import wait_for_the_unheard
from firstword.telemetry import libraries
from firstword.telemetry import metrics as telemetry_metrics
from firstword.telemetry.export import Exporting, exporters_from_environment
from firstword.telemetry.service import service_resource

logger = logging.getLogger("firstword")

_KEY = "firstword"
_WAITING_S = 4.0
"""Seconds that a process waits for others before it is ready: for callers who are unheard, for caches and store."""
_PREPARE_S = 1.0
"""Seconds of these that caches and store have at least."""
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Process:
    """What a process prepared for its one session: settings, flags, exporting, parts, store, caches, components.

    The objects that connect to something belong to the event loop of the job.
    """

    settings: Settings
    drawn: Assignment
    """The flags that act before any session; `draw_session` adds the others."""
    exporting: Exporting
    parts: WorkerParts
    store: AccountStore
    accounts: AccountCache | None
    """The account cache; None with `account-cache` off."""
    speeches: AudioCache | None
    """The audio cache; None with `smart-greeting` off."""
    components: Components | None
    """Those of the one job of this process, or of this thread of it; None with `component-pool` off."""
    caches: Caches

    async def whole(self, account: GreetingFields) -> Account:
        """Returns the whole account of which `account` is the part for the greeting, or the generic one if it is gone.
        Raises StoreError.
        """
        if isinstance(account, Account):
            return account
        found = None if self.accounts is None else await self.accounts.complete(account)
        return found or GENERIC

    async def aclose(self) -> None:
        """Closes caches and store of the job."""
        if self.accounts is not None:
            await self.accounts.aclose()
        await self.caches.aclose()
        await self.store.aclose()


def set_up(process: JobProcess) -> None:
    """Prepares this process, or this thread of it, for its job, and keeps the result for `of`.

    It first waits for starts in progress, at most `LONGEST_WAIT_S`. If the store can't be reached now, each session
    tries again.
    """
    patience = max(_WAITING_S - wait_for_the_unheard(), _PREPARE_S)
    config = settings()
    if config.redaction == "on":
        log_redaction.install()
    drawn = draw_process(config)
    parts = WorkerParts(config)
    caches = opened_caches(config, drawn.flags)
    try:
        asyncio.run(_prepare(config, parts, caches, patience))
    except StoreError as error:
        Failing("store").failed(error.reason, f"the account store could not be prepared: {error}")
    except TimeoutError:
        Failing("store").failed("late", f"caches and store could not be prepared within {patience:.1f} s")
    with _one_at_a_time:  # with threads for jobs, two may come at once
        exporting = _exporting(config.traces, config.redaction == "on")
        if Improvement.ASSISTANT_PREWARM in drawn.flags:
            _dry_start()
    if config.cache_url is not None:
        # a connection belongs to the loop that made it, a file's reader to none
        caches = opened_caches(config, drawn.flags)
    store = parts.store()
    process.userdata[_KEY] = Process(
        settings=config,
        drawn=drawn,
        exporting=exporting,
        parts=parts,
        store=store,
        accounts=None
        if caches.accounts is None
        else AccountCache(store, caches.accounts, patience=0.6 * config.account_deadline),
        speeches=None if caches.speeches is None else AudioCache(caches.speeches, days=config.cache_days),
        components=parts.components() if Improvement.COMPONENT_POOL in drawn.flags else None,
        caches=caches,
    )


def of(process: JobProcess) -> Process:
    """Returns the `Process` that `set_up` made for this process or thread."""
    return process.userdata[_KEY]


@cache
def set_up_metrics(exporting: Exporting) -> None:
    """Lets LiveKit's instruments report through OpenTelemetry from now on. A second call in a process does nothing."""
    provider = telemetry_metrics.set_up(exporting.provider.resource, telemetry_metrics.exporter_from_environment())
    at_process_end(provider.shutdown)


@cache
def _exporting(folder: str | None, redact: bool) -> Exporting:
    instance = {"service.instance.id": uuid4().hex}  # by which the sessions of one process are told
    exporting = Exporting(
        exporters_from_environment(folder=Path(folder) if folder else None, warn=False),  # the worker has, at its start
        resource=service_resource().merge(Resource(instance)),
        redact=redact,
    )
    libraries.switch_on(exporting.inside)
    livekit_telemetry.gen_ai.set_capture_content(False)  # 1.8.9 writes what is said into its spans unless told not to
    livekit_telemetry.set_tracer_provider(exporting.outside)
    at_process_end(exporting.shutdown, lambda: start_metrics.send_dropped(exporting.newly_dropped(last=True)))
    return exporting


async def _prepare(config: Settings, parts: WorkerParts, caches: Caches, patience: float) -> None:
    # its own store: one belongs to the loop that first uses it, and the job's loop comes later
    store = parts.store()
    try:
        async with asyncio.timeout(patience):
            await caches.prepare()
            await first_reads(config, caches)
            if config.cache_url is not None:
                await caches.aclose()
            await store.prepare()
    finally:  # outside of the deadline: a closing that it cuts leaves a thread
        await store.aclose()


@cache
def _dry_start() -> None:
    """Once a process, however many threads it has. Parts of a user's own may connect to somebody, who may be away."""
    try:
        dry_start(settings())
    except Exception as error:
        if settings().parts is None:
            raise
        logger.warning("a process is not warm: %s", type(error).__qualname__)
