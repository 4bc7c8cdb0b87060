"""A worker on a machine that has no time for it, with a store that never answers: its processes get ready, and callers are greeted.

Only `make soak` runs this: it wants the right to be nice and back again, and it holds every core for minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Generator

import pytest

from firstword.rehearsal import workers
from firstword.rehearsal.processes import started
from tests.agent.silent_server import silent_server
from tests.calls import waiting
from tests.calls.workers import CallServers

pytestmark = [pytest.mark.soak, pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

BUSY = (sys.executable, "-c", "while True: pass")
STARVED_S = 1800.0
"""Seconds: the worker gives way to all else on the machine, and where that is much it has little."""

GIVES_WAY = 10
"""The worker's niceness: beside two busy loops a core the kernel gives it a twentieth of each. At 19 it would be a 140th."""


@contextlib.contextmanager
def nice() -> Generator[None]:
    """What is started meanwhile gives way to all else. PermissionError where this user may not take it back."""
    os.setpriority(os.PRIO_PROCESS, 0, GIVES_WAY)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


async def test_no_process_is_killed_for_our_own_waiting(servers: CallServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four idle processes beside four busy loops, with a PostgreSQL that accepts and never answers."""
    monkeypatch.setattr(workers, "REGISTER_S", STARVED_S)
    monkeypatch.setattr(waiting, "PATIENCE", STARVED_S)
    async with silent_server() as store, contextlib.AsyncExitStack() as busy:
        for _ in range(4):
            await busy.enter_async_context(started(BUSY, {}))
        environment = {
            "FIRSTWORD_IDLE_PROCESSES": "4",
            "FIRSTWORD_STORE_URL": f"postgresql://user:password@127.0.0.1:{store.port}/accounts",
            "FIRSTWORD_ACCOUNT_DEADLINE": "1",
            "FIRSTWORD_STORE_DEADLINE": "1",
        }
        with nice():
            async with servers.worker("tuned", environment) as worker:
                for _ in range(3):
                    caller = worker.caller()
                    await caller.connect()
                    await caller.hear(STARVED_S)
                    await caller.leave()
                log = worker.log
    assert not [line for line in log if "initialization timed out" in json.dumps(line)]
    said = [line["message"] for line in log]
    assert any(message.startswith("caches and store could not be prepared within") for message in said)
    assert not [message for message in said if message.rstrip().endswith(":")], "a line that says no reason"
