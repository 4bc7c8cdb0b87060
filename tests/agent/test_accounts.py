"""firstword.agent.accounts.sql_store: what is written is read again, from SQLite and from PostgreSQL, and what fails says why."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from firstword.agent.accounts import examples
from firstword.agent.accounts.account_store import StoreError, StoreFailure
from firstword.agent.accounts.model import GENERIC, Account, GreetingFields, LastSession, SessionRow
from firstword.agent.accounts.sql_store import SQLStore
from tests.postgres import postgres_url as postgres_url

ADA = examples.ACCOUNTS[0]
LAST = LastSession(ended=1_800_000_000.5, summary="Asked about the bill.", left_open="A call back.")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of either kind; that of PostgreSQL may have our tables from the test before."""
    return (
        sqlite_url(tmp_path / "accounts.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )


@pytest.fixture
async def url(database: str) -> str:
    """A database without our tables, of either kind."""
    if not database.startswith("sqlite"):
        for table in ("last_sessions", "sessions", "accounts"):
            await execute(database, f"DROP TABLE IF EXISTS firstword_{table}")
    return database


@pytest.fixture
async def store(url: str) -> AsyncIterator[SQLStore]:
    """A store with the example accounts."""
    async with aclosing(await SQLStore.open(url, seed=True)) as opened:
        yield opened


def sqlite_url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


async def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run a statement beside the store, as its user would with psql or sqlite3."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        await engine.dispose()


async def test_the_example_accounts_are_read_as_they_were_written(store: SQLStore) -> None:
    """Whole, to the last text of the long knowledge, and in whatever script."""
    assert [await store.account(one.id) for one in examples.ACCOUNTS] == list(examples.ACCOUNTS)


def test_the_example_accounts_differ_in_what_matters() -> None:
    """Languages, time zones and voices; and one has much to know."""
    for values in (
        {one.language for one in examples.ACCOUNTS},
        {one.time_zone for one in examples.ACCOUNTS},
        {one.voice for one in examples.ACCOUNTS},
    ):
        assert len(values) >= 5
    assert max(sum(map(len, one.knowledge)) for one in examples.ACCOUNTS) > 50_000


async def test_an_account_nobody_knows_is_none(store: SQLStore) -> None:
    """For each way of reading; SQL in an id is just an id."""
    for id in ("nobody", "", "' OR 1=1 --", "x" * 10_000):
        assert await store.account(id) is None
        assert await store.greeting_fields(id) is None
        assert await store.resumption(id) is None


async def test_what_the_greeting_needs_can_be_read_alone(store: SQLStore) -> None:
    """Without all that the assistant will know."""
    first = await store.greeting_fields(ADA.id)
    assert first is not None
    assert type(first) is GreetingFields
    assert first.greeting == ADA.greeting


@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_all_ids_can_be_read_a_page_at_a_time(store: SQLStore, size: int) -> None:
    """Each once, whatever a page holds."""
    pages = [page async for page in store.ids(size)]
    assert max(map(len, pages)) <= size
    assert sorted(id for page in pages for id in page) == sorted(account.id for account in examples.ACCOUNTS)


async def test_saving_replaces(store: SQLStore) -> None:
    """An account is new, or takes the place of the one with its id; no other changes."""
    changed = replace(ADA, name="Ada W.", tools=(), knowledge=("one", "two\n'three'"))
    await store.save(changed)
    await store.save(replace(GENERIC, id="new"))
    assert await store.account(ADA.id) == changed
    assert await store.account("new") == replace(GENERIC, id="new")
    assert await store.account("1002") == examples.ACCOUNTS[1]


async def test_the_last_session_is_the_last(store: SQLStore) -> None:
    """One row an account; nothing is kept for an account that is gone."""
    assert await store.resumption(ADA.id) == examples.LAST_SESSIONS[ADA.id]
    assert await store.resumption("1003") is None
    await store.save_last_session(ADA.id, LAST)
    await store.save_last_session("1003", LAST)
    await store.save_last_session("gone", LAST)
    assert await store.resumption(ADA.id) == LAST
    assert await store.resumption("1003") == LAST
    assert await store.resumption("gone") is None


async def test_a_session_is_recorded_once_and_then_completed(store: SQLStore, url: str) -> None:
    """The second write of the same id replaces the first; an account nobody knows is not kept."""
    begun = SessionRow("job-1", ADA.id, 1_800_000_000.25, {"parallel-init": "on"})
    await store.record_session(begun)
    await store.record_session(replace(begun, first_word=0.93, ended="caller_left", turns=7, errors=1))
    await store.record_session(SessionRow("job-2", None, 1.0))
    await store.record_session(SessionRow("job-3", "nobody", 2.0))
    columns = "id, account, started, first_word, ended, turns, errors"
    rows = await execute(url, f"SELECT {columns} FROM firstword_sessions ORDER BY id")
    assert rows == [
        ("job-1", ADA.id, 1_800_000_000.25, 0.93, "caller_left", 7, 1),
        ("job-2", None, 1.0, None, None, None, None),
        ("job-3", None, 2.0, None, None, None, None),
    ]


async def test_a_deleted_account_leaves_only_figures(store: SQLStore, url: str) -> None:
    """Its last session goes with it; its session rows no longer say whose they were."""
    await store.record_session(SessionRow("job-1", ADA.id, 1.0))
    await store.delete(ADA.id)
    await store.delete(ADA.id)
    assert await store.account(ADA.id) is None
    assert await store.resumption(ADA.id) is None
    assert await execute(url, "SELECT id, account FROM firstword_sessions") == [("job-1", None)]


async def test_reads_at_the_same_time_do_not_mix(store: SQLStore) -> None:
    """More of them than the pool has connections."""
    ids = [one.id for one in examples.ACCOUNTS] * 8
    found = await asyncio.gather(*(store.account(id) for id in ids))
    assert [one.id for one in found if one] == ids


async def test_an_open_database_stays_as_it_is(url: str) -> None:
    """Examples go into fresh tables only: what was deleted doesn't come back."""
    async with aclosing(await SQLStore.open(url, seed=True)) as first:
        await first.delete(ADA.id)
    async with aclosing(await SQLStore.open(url, seed=True)) as second:
        assert await second.account(ADA.id) is None
        assert await second.account("1002") == examples.ACCOUNTS[1]


async def test_only_sqlite_gets_examples_unasked(url: str) -> None:
    """Nothing is written into somebody's PostgreSQL but the tables."""
    async with aclosing(await SQLStore.open(url)) as opened:
        assert await opened.account(ADA.id) == (ADA if url.startswith("sqlite") else None)


OPEN = """
import asyncio, sys
from firstword.agent.accounts.model import SessionRow
from firstword.agent.accounts.sql_store import SQLStore

async def main(url, job):
    store = await SQLStore.open(url, seed=True)
    account = await store.account("1006")
    await store.record_session(SessionRow(job, "1006", 1.0))
    await store.aclose()
    return 0 if account else 3

print("ready", flush=True)
input()
sys.exit(asyncio.run(main(*sys.argv[1:])))
"""


async def test_processes_that_open_it_first_at_once_do_not_collide(url: str) -> None:
    """Each of six finds the tables and the examples, whoever made them; each can write."""
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", OPEN, url, f"job-{number}"), stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        for number in range(6)
    ]
    for process in processes:  # each has imported what it needs: now let them go
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    ended = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    assert [(err, process.returncode) for (_, err), process in zip(ended, processes, strict=True)] == [(b"", 0)] * 6
    assert await execute(url, "SELECT count(*) FROM firstword_accounts") == [(len(examples.ACCOUNTS),)]
    assert await execute(url, "SELECT count(*) FROM firstword_sessions WHERE account = '1006'") == [(6,)]


async def test_a_fresh_sqlite_store_is_in_wal_mode_and_private(tmp_path: Path) -> None:
    """Readers don't wait for a writer, and other users of the machine don't read."""
    file = tmp_path / "not" / "there" / "accounts.db"
    async with aclosing(await SQLStore.open(sqlite_url(file))):
        assert await execute(sqlite_url(file), "PRAGMA journal_mode") == [("wal",)]
        assert all(one.stat().st_mode & 0o077 == 0 for one in (file.parent, *file.parent.iterdir()))


async def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    """An account can be read while another process is in the middle of a write."""
    file = tmp_path / "accounts.db"
    async with aclosing(await SQLStore.open(sqlite_url(file))) as opened:
        writer = sqlite3.connect(file, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE firstword_accounts SET name = 'half done'")
        assert await opened.account(ADA.id) == ADA
        writer.execute("ROLLBACK")
        writer.close()


async def test_a_locked_store_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that waited for another's lock until the busy timeout has the reason `locked`."""
    monkeypatch.setattr("firstword.agent.accounts.sql_store._SQLITE_BUSY", 0.05)
    file = tmp_path / "accounts.db"
    async with aclosing(await SQLStore.open(sqlite_url(file))) as opened:
        writer = sqlite3.connect(file, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as raised:
            await opened.save(ADA)
        assert raised.value.reason is StoreFailure.LOCKED
        writer.execute("ROLLBACK")
        await opened.save(ADA)
        writer.close()


async def test_a_deadline_holds_while_the_store_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gave up returns at once, though SQLite still waits for the lock in its thread; others are served meanwhile."""
    monkeypatch.setattr(
        "firstword.agent.accounts.sql_store._SQLITE_BUSY", 3600.0
    )  # waiting for it would hang this test
    file = tmp_path / "accounts.db"
    async with aclosing(await SQLStore.open(sqlite_url(file))) as opened:
        writer = sqlite3.connect(file, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await opened.save(replace(ADA, name="late"))
        assert await opened.account(ADA.id) == ADA
        writer.execute("ROLLBACK")
        writer.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql+asyncpg://user:hidden@127.0.0.1:1/accounts", StoreFailure.UNREACHABLE),
        ("postgresql+asyncpg://user:hidden@127.0.0.1:1/accounts?sslmode=require", StoreFailure.UNREACHABLE),
        ("postgresql+asyncpg://user:hidden@/accounts?host=/nowhere", StoreFailure.UNREACHABLE),
        ("sqlite+aiosqlite:////proc/accounts.db", StoreFailure.UNREACHABLE),
    ],
)
async def test_a_store_that_is_not_there_is_unreachable(url: str, reason: StoreFailure) -> None:
    """Whether nobody listens, or the place can't exist; the text holds no password."""
    with pytest.raises(StoreError) as raised:
        await SQLStore.open(url)
    assert raised.value.reason is reason
    assert "hidden" not in str(raised.value)


async def test_a_file_that_is_no_database_is_broken(tmp_path: Path) -> None:
    """It answered, but with nothing we can use; the file stays as it was."""
    file = tmp_path / "accounts.db"
    file.write_bytes(b"not a database" * 400)
    with pytest.raises(StoreError) as raised:
        await SQLStore.open(sqlite_url(file))
    assert raised.value.reason is StoreFailure.BROKEN
    assert file.read_bytes() == b"not a database" * 400


@pytest.mark.parametrize("column", ['"text"', "null", "5", "[1]", '{"a": 1}', "no json"])
async def test_a_row_by_other_hands_is_broken(tmp_path: Path, column: str) -> None:
    """Tools that are no list of strings: an error, never an account of another shape."""
    file = tmp_path / "accounts.db"
    async with aclosing(await SQLStore.open(sqlite_url(file))) as opened:
        with sqlite3.connect(file) as other:
            other.execute("UPDATE firstword_accounts SET tools = ?", [column])
        other.close()
        with pytest.raises(StoreError) as raised:
            await opened.account(ADA.id)
        assert raised.value.reason is StoreFailure.BROKEN


async def test_a_missing_table_is_broken(url: str) -> None:
    """A store that nobody prepared says so at the first read."""
    async with aclosing(SQLStore(url)) as unprepared:
        with pytest.raises(StoreError) as raised:
            await unprepared.account(ADA.id)
    assert raised.value.reason is StoreFailure.BROKEN


async def test_an_error_quotes_no_account(store: SQLStore) -> None:
    """A text that the database can't hold is refused without being repeated, and without a chained error that does."""
    with pytest.raises(StoreError) as raised:
        await store.save(replace(ADA, name="secret name \ud800"))
    assert raised.value.reason is StoreFailure.BROKEN
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__


async def test_a_wrong_database_is_broken(postgres_url: str) -> None:
    """PostgreSQL is there and answers that the database isn't."""
    with pytest.raises(StoreError) as raised:
        await SQLStore.open(postgres_url.replace("/postgres?", "/nowhere?"))
    assert raised.value.reason is StoreFailure.BROKEN


async def test_a_connection_cut_while_idle_costs_no_session(postgres_url: str) -> None:
    """The server closed the pool's connection: the next read gets a new one and succeeds."""
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'postgres'"
    )
    async with aclosing(await SQLStore.open(postgres_url)) as opened:
        await opened.save(ADA)
        assert (True,) in await execute(postgres_url, cut)
        assert await opened.account(ADA.id) == ADA


def test_no_driver_is_imported_that_is_not_used() -> None:
    """The store's module imports neither driver nor dialect; the data's module not even SQLAlchemy."""
    for module, absent in (
        ("firstword.agent.accounts.sql_store", ("aiosqlite", "asyncpg", "sqlalchemy.dialects.postgresql.asyncpg")),
        ("firstword.agent.accounts.model", ("sqlalchemy",)),
        ("firstword.agent.greeting.text", ("sqlalchemy",)),
    ):
        code = f"import sys, {module}; sys.exit(bool(set({absent!r}) & set(sys.modules)))"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0, module


def test_no_repr_shows_an_account() -> None:
    """A log line or a traceback that prints one gives nothing away."""
    for shown in (repr(ADA), repr(LAST), repr(SessionRow("job", ADA.id, 1.0)), f"{ADA}"):
        for value in (ADA.id, ADA.name, ADA.greeting, LAST.summary):
            assert value not in shown


def test_an_account_is_what_a_greeting_needs() -> None:
    """The greeting takes either: the first fields, or the whole account."""
    assert isinstance(ADA, GreetingFields)
    assert Account.__dataclass_fields__.keys() >= GreetingFields.__dataclass_fields__.keys()
