"""The shipped account store: a session reads from it who is calling, and writes into it how the call went.

Between the database (SQLite by default, PostgreSQL by URL) and the tasks of a start, which set the deadlines. Each read
and each write is one statement in autocommit: a round trip, no transaction around it. Writes may be repeated.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from sqlalchemy import (
    Column,
    Connection,
    Executable,
    Row,
    Table,
    Text,
    delete,
    event,
    func,
    insert,
    inspect,
    literal,
    make_url,
    select,
    text,
)
from sqlalchemy import cast as cast_to
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from firstword.agent import folders
from firstword.agent.accounts import examples
from firstword.agent.accounts.account_store import STATEMENT_S, AccountStore, StoreError, StoreFailure
from firstword.agent.accounts.model import Account, GreetingFields, LastSession, SessionRow
from firstword.agent.accounts.tables import ACCOUNTS, LAST_SESSIONS, METADATA, SESSIONS

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

logging.getLogger("aiosqlite").setLevel(logging.INFO)  # at DEBUG, as in a console, four lines a statement

_SQLITE_BUSY: Final = 5.0
"""Seconds that SQLite waits while another process writes; the caller's deadline is usually shorter."""
_CLOSE_S: Final = 2.0
"""Seconds for closing connections to a server that may not answer."""
_FILE_CLOSE_S: Final = 20.0
"""Seconds for closing those to a file. Only a disk that hangs takes so long, and each that stays open is a thread."""
_LATEST: Final = 1000
"""Sessions that say which accounts are common: found by the index on their start, however many there are."""
_CREATION_LOCK: Final = 0x6669727374
"""Key of PostgreSQL's advisory lock under which one process makes the tables ("first")."""
_SQLITE_LOCKED: Final = frozenset({5, 6})  # SQLITE_BUSY, SQLITE_LOCKED
_SQLITE_UNREACHABLE: Final = frozenset({10, 14})  # SQLITE_IOERR, SQLITE_CANTOPEN
_POSTGRES_LOCKED: Final = frozenset({"55P03", "40P01"})  # lock not available, deadlock
_POSTGRES_UNREACHABLE: Final = ("08", "53", "57P")  # connection, resources (too many clients), shutting down

T = TypeVar("T")


class SQLStore(AccountStore):
    """Reads and writes accounts, last sessions and session rows of one database. It belongs to the event loop that
    first uses it.
    """

    def __init__(self, url: str) -> None:
        """Takes a SQLAlchemy URL with an async driver (`Settings.store_url`). Connects with the first statement."""
        self._url = _accepted(make_url(url))
        self._sqlite: Final = self._url.get_backend_name() == "sqlite"
        # hide_parameters: an error's text must not hold an account.
        # by its module: instrumentation that is switched on later replaces the name there
        self._engine = sqlalchemy_asyncio.create_async_engine(
            self._url, hide_parameters=True, connect_args={"timeout": _SQLITE_BUSY} if self._sqlite else {}
        )
        if self._sqlite:
            event.listen(self._engine.sync_engine, "connect", _enforce_foreign_keys)
        self._running: Final = set[asyncio.Task[Any]]()
        self._closing: asyncio.Task[None] | None = None
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @classmethod
    async def open(cls, url: str, *, seed: bool | None = None) -> Self:
        """Returns a store of this URL after `prepare` has made missing tables. Raises StoreError."""
        store = cls(url)
        try:
            await store.prepare(seed=seed)
        except BaseException:
            await store.aclose()
            raise
        return store

    async def prepare(self, *, seed: bool | None = None) -> None:
        """Makes file and tables if they do not exist. Once on a machine is enough; several processes may do so at once.

        `seed` says whether new tables get the example accounts. None means only those of SQLite do, so that nothing is
        written into somebody's PostgreSQL unasked. Existing tables stay as they are. Raises StoreError.
        """
        await self._within(self._prepare(self._sqlite if seed is None else seed))

    async def account(self, id: str) -> Account | None:
        """Returns the whole account of this id, in one read, or None if there is none. Raises StoreError."""
        row = await self._row(select(*_columns(ACCOUNTS, Account)).where(ACCOUNTS.c.id == id))
        return None if row is None else _account(row)

    async def greeting_fields(self, id: str) -> GreetingFields | None:
        """Returns what the greeting needs of the account, in one small read, or None if there is none. Raises
        StoreError.
        """
        row = await self._row(select(*_columns(ACCOUNTS, GreetingFields)).where(ACCOUNTS.c.id == id))
        return None if row is None else GreetingFields(*row)

    async def resumption(self, id: str) -> LastSession | None:
        """Returns the account's last session, in one read, or None if it had none. Raises StoreError."""
        row = await self._row(select(*_columns(LAST_SESSIONS, LastSession)).where(LAST_SESSIONS.c.account == id))
        return None if row is None else LastSession(*row)

    async def common(self, limit: int) -> list[str]:
        """Returns the ids of the `limit` accounts that have most of the latest sessions, most frequent first. Raises
        StoreError.

        If fewer accounts had sessions, others follow.
        """
        latest = select(SESSIONS.c.account).where(SESSIONS.c.account.is_not(None)).order_by(SESSIONS.c.started.desc())
        account = latest.limit(_LATEST).subquery().c.account
        counted = select(account).group_by(account).order_by(func.count().desc(), account).limit(limit)
        common = [row.account for row in await self._run(counted)]
        if len(common) == limit:
            return common
        others = select(ACCOUNTS.c.id).where(ACCOUNTS.c.id.not_in(common)).order_by(ACCOUNTS.c.id)
        return common + [row.id for row in await self._run(others.limit(limit - len(common)))]

    async def tools(self) -> set[str]:
        """Returns the names of tools that accounts list, in one read. Raises StoreError."""
        lists = await self._run(select(cast_to(ACCOUNTS.c.tools, Text).label("tools")).distinct())
        return {name for row in lists for name in _texts(json.loads(row.tools))}

    async def ids(self, size: int = 1000) -> AsyncGenerator[list[str]]:
        """Yields the ids of all accounts in lists of `size`, one read for each list. Raises StoreError."""
        page = [""]
        while page:
            following = select(ACCOUNTS.c.id).where(ACCOUNTS.c.id > page[-1]).order_by(ACCOUNTS.c.id).limit(size)
            page = [row.id for row in await self._run(following)]
            if page:
                yield page

    async def save(self, account: Account) -> None:
        """Writes the account, in place of one with its id. Raises StoreError."""
        await self._run(self._upsert(ACCOUNTS).values(_values(account)))

    async def delete(self, id: str) -> None:
        """Deletes the account and its last session. Its session rows stay, without its id. Raises StoreError."""
        await self._run(delete(ACCOUNTS).where(ACCOUNTS.c.id == id))

    async def save_last_session(self, id: str, last: LastSession) -> None:
        """Writes what the account's next session resumes from, in place of what the last one left. Writes nothing if
        the account is gone. Raises StoreError.
        """
        row = select(ACCOUNTS.c.id, literal(last.ended), literal(last.summary), literal(last.left_open))
        columns = ["account", "ended", "summary", "left_open"]
        await self._run(self._upsert(LAST_SESSIONS).from_select(columns, row.where(ACCOUNTS.c.id == id)))

    async def record_session(self, session: SessionRow) -> None:
        """Writes the session's row, in place of one with its id; without its account if that is gone. Raises
        StoreError.
        """
        account = select(ACCOUNTS.c.id).where(ACCOUNTS.c.id == session.account).scalar_subquery()
        await self._run(self._upsert(SESSIONS).values(_values(session) | {"account": account}))

    async def aclose(self) -> None:
        """Closes every connection, once statements that were given up have ended. The store is not used afterwards.

        A caller who is cancelled meanwhile waits for it too, however often: the loop may end with them. A connection
        that is left open is a thread that keeps the process.
        """
        closing = self._closing = self._closing or asyncio.create_task(self._close())
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _close(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=_SQLITE_BUSY)  # a thread must not outlive the loop it answers to
        patience = _FILE_CLOSE_S if self._sqlite else _CLOSE_S
        await asyncio.wait({asyncio.ensure_future(self._engine.dispose())}, timeout=patience)

    def _upsert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        if self._sqlite:
            from sqlalchemy.dialects.sqlite import insert as insert_into
        else:
            from sqlalchemy.dialects.postgresql import insert as insert_into
        statement = insert_into(table)
        new = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=new)

    async def _row(self, statement: Executable) -> Row[Any] | None:
        """The row that a key picks; None when there is none."""
        return next(iter(await self._run(statement)), None)

    async def _prepare(self, seed: bool) -> None:
        if self._sqlite and self._url.database:
            _make_file(Path(self._url.database))
        async with self._autocommit.connect() as connection:
            if await connection.run_sync(_has_tables):
                return
            if self._sqlite:  # readers don't wait for a writer; kept in the file, and not to be set in a transaction
                await connection.execute(text("PRAGMA journal_mode=WAL"))
        async with self._engine.begin() as connection:
            await connection.run_sync(_create, seed)

    async def _run(self, statement: Executable) -> Sequence[Row[Any]]:
        """The statement's rows, if it has any. Raises StoreError."""
        return await self._within(self._run_again_if_cut(statement))

    async def _within(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work returns, within `STATEMENT_S` seconds. A cancelled caller returns at once; a write may still take place.

        In an asyncio.Task of its own: SQLite waits for a lock in a thread that nobody can interrupt. The task is left to end by itself,
        within SQLite's busy timeout. Raises StoreError.
        """
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._ended)
        try:
            with _our_errors():
                async with asyncio.timeout(STATEMENT_S):
                    return await asyncio.shield(running)
        finally:
            if not self._sqlite:
                running.cancel()  # of one that has ended it is nothing

    def _ended(self, running: asyncio.Task[Any]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # seen, also where whoever waited has given up

    async def _run_again_if_cut(self, statement: Executable) -> Sequence[Row[Any]]:
        """Once more, on a new connection, when the pool's had been closed by the server while idle."""
        try:
            return await self._run_once(statement)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return await self._run_once(statement)

    async def _run_once(self, statement: Executable) -> Sequence[Row[Any]]:
        async with self._autocommit.connect() as connection:
            result = await connection.execute(statement)
            return result.all() if result.returns_rows else ()


def _accepted(url: URL) -> URL:
    """The URL as asyncpg takes it: what libpq and every hoster call `sslmode` is its `ssl`."""
    if url.drivername == "postgresql+asyncpg" and "sslmode" in url.query:
        return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    return url


def _make_file(path: Path) -> None:
    """An empty file is an empty database; made here for its rights, which SQLite's own files beside it take over."""
    if not path.parent.exists():
        folders.make_private(path.parent)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))


def _enforce_foreign_keys(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")  # SQLite's default is off, for each connection anew
    cursor.close()


def _has_tables(connection: Connection) -> bool:
    return inspect(connection).has_table(SESSIONS.name)  # made last, in the one transaction


def _create(connection: Connection, seed: bool) -> None:
    """Make the tables in the transaction that is open, unless another process has just done so."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))  # Python's driver would only begin at the first INSERT
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})
    if _has_tables(connection):
        return
    METADATA.create_all(connection)
    if seed:
        connection.execute(insert(ACCOUNTS), [_values(account) for account in examples.ACCOUNTS])
        connection.execute(
            insert(LAST_SESSIONS), [{"account": id, **_values(last)} for id, last in examples.LAST_SESSIONS.items()]
        )


def _columns(table: Table, data: type[Account | GreetingFields | LastSession]) -> list[Column[Any]]:
    return [table.c[field.name] for field in fields(data)]


def _values(data: Account | LastSession | SessionRow) -> dict[str, Any]:
    return {field.name: getattr(data, field.name) for field in fields(data)}


def _account(values: Iterable[Any]) -> Account:
    row: dict[str, Any] = dict(zip((field.name for field in fields(Account)), values, strict=True))
    row |= {name: _texts(row[name]) for name in ("tools", "knowledge")}
    return Account(**row)


def _texts(column: Any) -> tuple[str, ...]:
    if not isinstance(column, list) or not all(isinstance(item, str) for item in cast("list[Any]", column)):
        raise StoreError(StoreFailure.BROKEN, "a row whose tools or knowledge is no list of strings")
    return tuple(cast("list[str]", column))


@contextmanager
def _our_errors() -> Generator[None]:
    """Turn what SQLAlchemy and the drivers raise into StoreError; `from None`, as their texts may quote a row."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(_reason(error), _detail(error)) from None
    except TimeoutError:
        raise StoreError(StoreFailure.LATE, "no answer in time") from None
    except OSError as error:  # asyncpg opens its socket outside SQLAlchemy's guard
        raise StoreError(StoreFailure.UNREACHABLE, type(error).__name__) from None
    except ValueError as error:  # a text no database can hold, or a JSON column that isn't
        raise StoreError(StoreFailure.BROKEN, type(error).__name__) from None


def _reason(error: DBAPIError) -> StoreFailure:
    """By the drivers' own codes: sqlite3's result code (its low byte is the primary one), PostgreSQL's SQLSTATE."""
    sqlite: int = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    postgres: str = getattr(error.orig, "sqlstate", None) or ""
    if sqlite in _SQLITE_LOCKED or postgres in _POSTGRES_LOCKED:
        return StoreFailure.LOCKED
    lost = error.connection_invalidated or isinstance(error, InterfaceError)
    if lost or sqlite in _SQLITE_UNREACHABLE or postgres.startswith(_POSTGRES_UNREACHABLE):
        return StoreFailure.UNREACHABLE
    return StoreFailure.BROKEN


def _detail(error: DBAPIError) -> str:
    """The database's own words where they can only name its objects; else its code."""
    code: str = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
    if not code or code.startswith(("22", "23")):  # the driver's checks, data exceptions, constraints: quote values
        return code or type(error.orig).__name__
    return str(error.orig).partition("\n")[0]
