"""What we take from LiveKit that it does not publish: each name once, with what breaks when an upgrade moves it.

When the worker received a job is private to LiveKit too; `firstword.telemetry.livekit` reads it, for any agent. So is the task in
which a worker registers; `firstword.agent.worker` has it wait. `firstword.agent.greeting.engine` reads the options of LiveKit's plugins
(`_opts`); where they have moved, greetings are kept in the process only. For tests alone `firstword.agent.testing` takes the place of the
native client; `tests/agent/testing/test_livekit.py` holds it to the real one.

`tests/agent/test_livekit_private.py` fails on such an upgrade.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import resource_tracker
from typing import Any


def noise_cancellation() -> Any:
    """LiveKit's background voice cancellation; it wants LiveKit Cloud. Raises ImportError without the extra (settings say so first)."""
    plugin: Any = importlib.import_module("livekit.plugins.noise_cancellation")
    return plugin.BVC()


def preload_no_turn_detector() -> None:
    """Before the worker's processes: keep 240 MB of weights out of them that no session here uses, unless the shell says otherwise.

    livekit-agents 1.8.9, `ipc/_preload.py`: unset, the variable means VAD and turn detector; 0 means neither, and
    `firstword.agent.process.preload` loads the VAD.
    """
    os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")


def start_native_runtime() -> None:
    """Start LiveKit's native client in this process; for jobs in threads before the first of them.

    livekit 1.1.21: `rtc._ffi_client.FfiClient.instance` is made at its first use and without a lock. Two jobs that begin
    at once make two, and the events of one never arrive: its `connect` hangs.
    """
    from livekit.rtc._ffi_client import FfiClient

    _ = FfiClient.instance


def hear_ctrl_c_while_processes_start(loop: asyncio.AbstractEventLoop) -> None:
    """Let Ctrl-C end the worker also while it makes a process, and let no process hear it; before the first of them.

    livekit-agents 1.8.9, `ipc/supervised_proc.py`: `_mask_ctrl_c` has the worker ignore SIGINT while a process starts, and a Ctrl-C is
    lost. The first start takes seconds, as what jobs share is imported. A process inherits instead what the thread that starts it blocks:
    one of the loop's executor, while Python handles signals on the main thread.
    """
    from livekit.agents.ipc import supervised_proc

    resource_tracker.ensure_running()  # started by a thread that blocks the signal, it would unblock it there
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGINT})
    loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio", initializer=block))
    supervised_proc._mask_ctrl_c = contextlib.nullcontext  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def is_lost_connection(error: BaseException | None) -> bool:
    """Whether `error` is `AgentServer.run`'s when the server did not take the worker after all retries.

    livekit-agents 1.8.9 has no class for it: `_connection_task` raises RuntimeError, and only its text says which.
    """
    return isinstance(error, RuntimeError) and str(error).startswith("failed to connect to livekit after")


@contextlib.contextmanager
def lost_connection_unlogged() -> Generator[None]:
    """Keep the traceback of a lost connection out of LiveKit's log; who catches the error has more to say."""

    def unlogged(record: logging.LogRecord) -> bool:
        return not (record.exc_info and is_lost_connection(record.exc_info[1]))

    log = logging.getLogger("livekit.agents")
    log.addFilter(unlogged)
    try:
        yield
    finally:
        log.removeFilter(unlogged)
