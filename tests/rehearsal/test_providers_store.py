"""The simulated account store: a real SQLite file that answers as late, and fails as often, as the model says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from firstword.rehearsal.providers.latency import LatencyError

QUICK = "[store]\nread = { median_ms = 0 }\nwrite = { median_ms = 0 }\n"


@asynccontextmanager
async def engine(tmp_path: Path, model: str) -> AsyncGenerator[AsyncEngine]:
    """An engine on a database with one table, under a latency model given as TOML."""
    (tmp_path / "providers.toml").write_text(model)
    made = create_async_engine(f"sqlite+simulated:///{tmp_path}/accounts.db?latency={tmp_path}/providers.toml")
    async with made.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, name TEXT)"))
    try:
        yield made
    finally:
        await made.dispose()


async def elapsed(made: AsyncEngine, *statements: str) -> float:
    """Seconds on the loop's clock that the statements of one transaction took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with made.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    return loop.time() - begin


async def test_rows_are_really_stored(tmp_path: Path):
    """What is written is there for the next engine: the file is a real SQLite database."""
    async with engine(tmp_path, QUICK) as made, made.begin() as connection:
        await connection.execute(text("INSERT INTO accounts VALUES ('a', 'Ada')"))
    async with engine(tmp_path, QUICK) as made, made.connect() as connection:
        assert (await connection.execute(text("SELECT\n name FROM accounts"))).scalar_one() == "Ada"


async def test_reads_and_writes_wait_each_for_its_own(tmp_path: Path):
    """SELECT takes `read`, INSERT takes `write`, PRAGMA takes neither."""
    model = "[store]\nread = { median_ms = 120, sigma = 0 }\nwrite = { median_ms = 60, sigma = 0 }\n"
    async with engine(tmp_path, model) as made:
        insert = await elapsed(made, "INSERT INTO accounts VALUES ('a', 'Ada')")
        select = await elapsed(made, "SELECT name FROM accounts")
        both = await elapsed(made, "SELECT name FROM accounts", "DELETE FROM accounts")
    assert insert >= 0.059  # the loop's clock may wake a sleeper a moment early
    assert select >= 0.119
    assert both >= 0.178


async def test_pragmas_and_transactions_are_free(tmp_path: Path):
    """Only statements that touch rows are refused, so only they are what the model is about."""
    async with engine(tmp_path, QUICK + "faults = { refuse = 1 }\n") as made, made.begin() as connection:
        assert (await connection.execute(text("PRAGMA user_version"))).scalar_one() == 0


async def test_waiting_leaves_the_event_loop_free(tmp_path: Path):
    """While a statement waits, other tasks of the loop get their turns."""
    async with engine(tmp_path, "[store]\nread = { median_ms = 3600000, sigma = 0 }\n") as made:
        waiting = asyncio.create_task(elapsed(made, "SELECT 1"))
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_refused_statement_is_an_operational_error(tmp_path: Path):
    """As a locked database would give, and the engine is usable afterwards."""
    async with engine(tmp_path, QUICK + "faults = { refuse = 1 }\n") as made, made.connect() as connection:
        with pytest.raises(OperationalError, match="database is locked"):
            await connection.execute(text("SELECT 1"))


async def test_a_cut_statement_is_an_operational_error(tmp_path: Path):
    """As a store that went away would give."""
    async with engine(tmp_path, QUICK + "faults = { cut = 1 }\n") as made, made.connect() as connection:
        with pytest.raises(OperationalError, match="disk I/O error"):
            await connection.execute(text("SELECT 1"))


async def test_a_slow_statement_meets_a_deadline(tmp_path: Path):
    """A caller with a deadline gets its TimeoutError, and the engine can be disposed of."""
    async with engine(tmp_path, QUICK + "faults = { slow = 1, slow_ms = 60000 }\n") as made:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), made.connect() as connection:
                await connection.execute(text("SELECT 1"))


async def test_each_engine_draws_its_own(tmp_path: Path):
    """Engines on one file (a process each, in a rehearsal) have different streams: not all get the first draw."""
    for count in (1, 2, 3):
        async with engine(tmp_path, QUICK) as made:
            await elapsed(made, "SELECT 1", "SELECT 2")
        assert (tmp_path / "accounts.db.engines").stat().st_size == count


def test_a_wrong_latency_file_is_an_error_of_the_engine(tmp_path: Path):
    """The model is read when the engine is made, not at the first statement."""
    with pytest.raises(LatencyError, match="nowhere"):
        create_async_engine(f"sqlite+simulated:///{tmp_path}/accounts.db?latency={tmp_path}/nowhere.toml")
