"""firstword.agent.accounts.sql_store closes an SQLite file whole, whatever happens to who closes it.

A connection that stays open has a thread, which keeps the process from ending.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from firstword.agent.accounts import sql_store
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.sql_store import SQLStore

ADA = ACCOUNTS[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.db"


async def opened(file: Path) -> SQLStore:
    """A store with the example accounts."""
    return await SQLStore.open(f"sqlite+aiosqlite:///{file}", seed=True)


def leaves_nothing_open(use: Coroutine[Any, Any, None]) -> None:
    """Run it on a loop that ends with it; then no connection is open, and none has a thread."""
    asyncio.run(use)
    gc.collect()  # a connection that is open would warn, which is an error in these tests
    deadline = time.monotonic() + 120
    while [each for each in threading.enumerate() if "_connection_worker_thread" in each.name]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_however_busy_the_machine(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What limits a server's answer does not limit it."""
    monkeypatch.setattr(sql_store, "_CLOSE_S", 0.0)
    close = aiosqlite.Connection.close

    async def late(connection: aiosqlite.Connection) -> None:
        await asyncio.sleep(0.1)
        await close(connection)

    monkeypatch.setattr(aiosqlite.Connection, "close", late)

    async def use() -> None:
        async with aclosing(await opened(file)) as store:
            assert await store.account(ADA.id) == ADA

    leaves_nothing_open(use())


@pytest.mark.parametrize("turns", range(1, 9))
def test_in_whichever_turn_and_however_often_it_is_cancelled(file: Path, turns: int) -> None:
    """The loop ends with who closes."""

    async def use() -> None:
        store = await opened(file)
        await asyncio.gather(*(store.account(ADA.id) for _ in range(3)))  # three connections in the pool
        closing = asyncio.create_task(store.aclose())
        await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
            closing.cancel()
        await asyncio.wait({closing})
        assert closing.cancelled()

    leaves_nothing_open(use())


def test_while_a_write_that_was_given_up_waits_for_a_lock(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite waits in a thread that nobody can interrupt; the closing waits for it, also where it is cancelled."""
    monkeypatch.setattr(sql_store, "_SQLITE_BUSY", 120.0)  # no machine is so busy

    async def use() -> None:
        store = await opened(file)
        writer = sqlite3.connect(file, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        saving = asyncio.create_task(store.save(ADA))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(store.aclose())
        for task in (saving, closing, closing):
            await asyncio.sleep(0.01)
            task.cancel()
        await asyncio.sleep(0.05)
        assert not closing.done()
        writer.execute("ROLLBACK")
        writer.close()
        await asyncio.wait({saving, closing})
        assert closing.cancelled()

    leaves_nothing_open(use())
