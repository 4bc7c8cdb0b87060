"""Keeps a cache in an SQLite file: what one process of a machine read or made is there for all of them.

Behind `Cache`. A lookup runs on the event loop: 0.1 ms for 150 KB, where a thread took 6 ms beside a busy loop. It
waits for no lock: the reader's connection is read-only, and in WAL mode readers and writers don't wait for each other.
Writes run in a thread, on a connection of their own.

A damaged file is deleted, and a new one with the next number takes its place. No name is used twice, so that no process
can join the old file to the new one's log. Whoever still reads the old file notices that it is gone.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, TypeVar

from firstword.agent import folders
from firstword.agent.cache.backend import GONE_FOR, Bounds, CacheEntry, CacheFailure, CacheUnavailable

_FORMAT: Final = 1
"""Part of the file's name; another number for another schema."""
_BUSY: Final = 1.0
"""Seconds that a write waits for another process's."""
_AGAIN_AFTER: Final = (0.001, 0.002, 0.005, 0.01, 0.02)
"""Seconds between tries of a lookup. Only who opens the log first, or closes it last, locks readers out: for about 1 ms."""
_BESIDE: Final = ("", "-wal", "-shm")
"""SQLite's files of one database, by ending."""
_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
CREATE TABLE entries (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL,
    stored REAL NOT NULL, expires REAL NOT NULL, size INTEGER NOT NULL, value BLOB NOT NULL
);
CREATE INDEX entries_by_expiry ON entries (expires, size);
CREATE INDEX entries_by_owner ON entries (owner);
CREATE TABLE gone (owner TEXT PRIMARY KEY, until REAL NOT NULL);
"""
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
# SQLITE_ERROR is "no such table": an empty file is an empty database.
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
T = TypeVar("T")


class SQLiteFile:
    """A cache backend in an SQLite file in `folder`. Lookups run on the event loop and can't be interrupted.

    So `folder` must not be on a network disk, which is not checked.
    """

    def __init__(self, folder: Path, name: str, bounds: Bounds, now: Callable[[], float] = time.time) -> None:
        self._folder = folder.absolute()
        self._start = f"{name}.{_FORMAT}-"
        self._named = re.compile(rf"{re.escape(self._start)}([1-9]\d*)\.db(-wal|-shm)?", re.ASCII)
        self._bounds = bounds
        self._now = now
        self._reader: sqlite3.Connection | None = None
        self._reads: tuple[Path, int] | None = None
        """Which file the reader has open: its path and inode."""

    async def prepare(self) -> None:
        """Makes the file if there is none, deletes expired entries, and opens the connection for lookups. Raises
        CacheUnavailable.
        """
        await asyncio.to_thread(self._write, self._drop_expired)
        await self.get("")

    async def get(self, key: str) -> CacheEntry | None:
        """Returns the entry of the key, or None if there is none or it has expired. Raises CacheUnavailable."""
        try:
            return await self._read_when_free(key)
        except sqlite3.Error as error:
            read = self._reads
            self._close_reader()
            if not _is_damage(error) or read is None:
                raise _unavailable(error) from None
        await asyncio.to_thread(self._replace, read[0])
        return None

    async def put(self, key: str, value: bytes, owner: str, lifetime: float) -> bool:
        """Keeps the value. Returns False if it alone is over the bounds, or its owner was deleted. Raises
        CacheUnavailable.
        """
        if len(value) > self._bounds.bytes:
            return False

        def insert(connection: sqlite3.Connection) -> bool:
            now = self._drop_expired(connection)
            if connection.execute("SELECT 1 FROM gone WHERE owner = ?", (owner,)).fetchone():
                return False
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))
            self._make_room(connection, len(value))
            row = (key, owner, now, now + lifetime, len(value), value)
            connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", row)
            return True

        return await asyncio.to_thread(self._write, insert)

    async def delete(self, key: str) -> None:
        """Delete the entry, if there is one. Raises CacheUnavailable."""

        def delete(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))

        await asyncio.to_thread(self._write, delete)

    async def owners(self) -> set[str]:
        """Deletes expired entries, and returns the owners of the others. Raises CacheUnavailable."""

        def owners(connection: sqlite3.Connection) -> set[str]:
            self._drop_expired(connection)
            return {owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM entries")}

        return await asyncio.to_thread(self._write, owners) if self._files() else set()

    async def delete_owner(self, owner: str) -> None:
        """Deletes all entries of the owner, and keeps none of theirs for `GONE_FOR` seconds. Raises CacheUnavailable.

        If the disk is too full, or a lock lasts too long, it deletes all files of the cache instead.
        """

        def delete(connection: sqlite3.Connection) -> None:
            now = self._drop_expired(connection)
            connection.execute("DELETE FROM entries WHERE owner = ?", (owner,))
            connection.execute("INSERT OR REPLACE INTO gone VALUES (?, ?)", (owner, now + GONE_FOR))

        def delete_all_of_it() -> None:
            try:
                self._write(delete, empty_log=True)
            except CacheUnavailable as error:
                if error.reason not in (CacheFailure.FULL, CacheFailure.LOCKED):
                    raise
                self._start_anew()
                with suppress(CacheUnavailable):  # there is nothing of the owner's; this is for who still writes
                    self._write(delete)

        await asyncio.to_thread(delete_all_of_it)

    async def aclose(self) -> None:
        """Closes the connection for lookups."""
        self._close_reader()

    # --- reading, on the event loop

    async def _read_when_free(self, key: str) -> CacheEntry | None:
        for wait in _AGAIN_AFTER:
            try:
                return self._read(key)
            except sqlite3.OperationalError as error:
                if not _is_locked(error):
                    raise
            await asyncio.sleep(wait)
        return self._read(key)

    def _read(self, key: str) -> CacheEntry | None:
        reader = self._current_reader()
        if reader is None:
            return None
        now = self._now()
        # `stored`: what was written by a clock that has been set back since has no age that we know.
        # fetchall, not fetchone: a statement that isn't read to its end keeps the log from being emptied.
        rows = reader.execute(
            "SELECT value, expires - ? FROM entries WHERE key = ? AND stored <= ? AND expires > ?", (now, key, now, now)
        ).fetchall()
        return CacheEntry(*rows[0]) if rows else None

    def _current_reader(self) -> sqlite3.Connection | None:
        """A connection to the newest file; None when there is no file. The check costs 2 us."""
        if self._reads and _inode(self._reads[0]) == self._reads[1]:
            return self._reader
        self._close_reader()
        files = self._files()
        if not files:
            return None
        path = files[-1]
        inode = _inode(path)
        if inode is None:
            return None  # just replaced: the next lookup finds the next one
        self._reads = path, inode
        self._reader = _connect(path, mode="ro", timeout=0)
        return self._reader

    def _close_reader(self) -> None:
        self._reads = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # --- writing, in a thread

    def _write(self, work: Callable[[sqlite3.Connection], T], *, empty_log: bool = False) -> T:
        """Run `work` in a transaction on the newest file; once more when that turned out to be damaged or gone."""
        path = self._newest()
        try:
            return _in_transaction(path, work, empty_log=empty_log)
        except sqlite3.Error as error:
            if _is_damage(error):
                self._replace(path)
            elif path.exists():
                raise _unavailable(error) from None
        try:
            return _in_transaction(self._newest(), work, empty_log=empty_log)
        except sqlite3.Error as error:
            raise _unavailable(error) from None

    def _drop_expired(self, connection: sqlite3.Connection) -> float:
        now = self._now()
        connection.execute("DELETE FROM entries WHERE expires <= ?", (now,))
        connection.execute("DELETE FROM gone WHERE until <= ?", (now,))
        return now

    def _make_room(self, connection: sqlite3.Connection, size: int) -> None:
        held, entries = connection.execute("SELECT total(size), count(*) FROM entries").fetchone()
        victims: list[tuple[int]] = []
        for rowid, freed in connection.execute("SELECT rowid, size FROM entries ORDER BY expires"):
            if held + size <= self._bounds.bytes and entries < self._bounds.entries:
                break
            victims.append((rowid,))
            held -= freed
            entries -= 1
        connection.executemany("DELETE FROM entries WHERE rowid = ?", victims)

    # --- files

    def _files(self) -> list[Path]:
        """The cache's files, newest last: as a rule one. A file of any other name is none of ours."""
        return sorted({path for path, beside in self._present() if not beside}, key=_number)

    def _present(self) -> list[tuple[Path, bool]]:
        """The database of each file that is there, and whether the file is one of SQLite's beside it."""
        try:
            matches = [self._named.fullmatch(name) for name in os.listdir(self._folder)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(error) from None
        return [(self._folder / f"{self._start}{found[1]}.db", bool(found[2])) for found in matches if found]

    def _newest(self) -> Path:
        """The newest file; the first one is made. What a process that died has left of older ones is deleted."""
        present = self._present()
        files = sorted({path for path, beside in present if not beside}, key=_number)
        left_over = {path for path, beside in present if beside and not path.exists()}
        for path in {*files[:-1], *left_over}:
            _remove(path)
        return files[-1] if files else self._make(1)

    def _replace(self, damaged: Path) -> None:
        """Go on with a new file. Raises CacheUnavailable."""
        if self._newest() == damaged:
            self._make(_number(damaged) + 1)
        _remove(damaged)

    def _start_anew(self) -> None:
        """Delete every file; then there may be room for the next one."""
        files = self._files()
        for path in files:
            _remove(path)
        with suppress(CacheUnavailable):
            self._make(_number(files[-1]) + 1 if files else 1)

    def _make(self, number: int) -> Path:
        """Make the file of this number: whole from the moment it is there, and by one process only."""
        path = self._folder / f"{self._start}{number}.db"
        try:
            folders.make_private(self._folder)
            with tempfile.TemporaryDirectory(prefix="new-", dir=self._folder) as scratch:
                new = Path(scratch) / "new.db"
                new.touch(mode=0o600)  # SQLite gives the files beside it the same rights
                with closing(_connect(new, mode="rw", timeout=_BUSY)) as connection:
                    connection.executescript(_SCHEMA)
                path.hardlink_to(new)
        except FileExistsError:
            pass  # another process was faster
        except sqlite3.Error as error:
            raise _unavailable(error) from None
        except OSError as error:
            raise _unusable(error) from None
        return path


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _connect(path: Path, *, mode: str, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,  # opened before the job, used in its loop
    )


def _in_transaction(path: Path, work: Callable[[sqlite3.Connection], T], *, empty_log: bool) -> T:
    with closing(_connect(path, mode="rw", timeout=_BUSY)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")  # personal: what is deleted is overwritten
        connection.execute("BEGIN IMMEDIATE")
        result = work(connection)  # what raises in here is rolled back by closing
        connection.execute("COMMIT")
        if empty_log:
            _empty_log(connection)
        return result


def _empty_log(connection: sqlite3.Connection) -> None:
    """Empty the log, in which deleted bytes still are. Raises CacheUnavailable while a reader keeps it from that."""
    ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # waits for `_BUSY` seconds
    if busy:
        raise CacheUnavailable(CacheFailure.LOCKED, "the log is being read")


def _remove(path: Path) -> None:
    """Delete the file, and then what SQLite keeps beside it: whoever is interrupted leaves a name that `_newest` finds."""
    try:
        for ending in _BESIDE:
            Path(f"{path}{ending}").unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(error) from None


def _inode(path: Path) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _unusable(error: OSError) -> CacheUnavailable:
    """A folder or file that cannot be used; FULL where there is no room."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return CacheUnavailable(
        CacheFailure.FULL if full else CacheFailure.UNREACHABLE, error.strerror or type(error).__name__
    )


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # the driver's own complaints have none


def _is_locked(error: sqlite3.Error) -> bool:
    return _code(error) & 0xFF in _LOCKED


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) & 0xFF in _DAMAGED or _code(error) == sqlite3.SQLITE_IOERR_SHORT_READ


def _unavailable(error: sqlite3.Error) -> CacheUnavailable:
    """By SQLite's result code, whose low byte is the primary one."""
    code = _code(error)
    detail = getattr(error, "sqlite_errorname", type(error).__name__)
    if _is_locked(error):
        return CacheUnavailable(CacheFailure.LOCKED, detail)
    # SQLite calls a write beyond a quota or a file-size limit an I/O error.
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE):
        return CacheUnavailable(CacheFailure.FULL, detail)
    return CacheUnavailable(CacheFailure.BROKEN if _is_damage(error) else CacheFailure.UNREACHABLE, detail)
