"""The simulated account store: a real SQLite file whose statements take as long as a database's across a network.

An SQLAlchemy dialect, so that the worker's own account code runs unchanged: STORE_URL is
`sqlite+simulated:///PATH?latency=FILE`, without `latency` the default model. Waiting leaves the event loop free.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from typing import Any

from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import ConnectArgsType
from sqlalchemy.util import await_

from firstword.rehearsal.providers.latency import Latencies

_READS = ("SELECT", "WITH", "VALUES")
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


class SimulatedStore(SQLiteDialect_aiosqlite):
    """SQLAlchemy's dialect for aiosqlite, made slow: statements that read or write rows wait as the latency model says,
    or fail.

    A refused statement fails at once as on a locked database, a cut one after its wait as on a lost disk; both are
    sqlalchemy.exc.OperationalError. PRAGMA, CREATE, BEGIN and COMMIT are free.
    """

    supports_statement_cache = True

    def create_connect_args(self, url: URL) -> ConnectArgsType:
        """Returns the arguments for SQLite, after it has read the latency model that the URL's query names. Raises
        LatencyError for a wrong file."""
        latencies = Latencies.load(url.normalized_query.get("latency", (None,))[-1])
        arguments, options = super().create_connect_args(url.difference_update_query(["latency"]))
        self._pace = _Pace(latencies, database=arguments[0])
        return arguments, options

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Waits as long as the latency model says, without blocking the loop, then executes the statement. Raises
        sqlite3.OperationalError where the model says that it fails.
        """
        self._pace.wait(statement)
        super().do_execute(cursor, statement, parameters, context)

    def do_executemany(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Waits once as the latency model says, then executes the statement with all parameters."""
        self._pace.wait(statement)
        super().do_executemany(cursor, statement, parameters, context)

    def do_execute_no_params(self, cursor: Any, statement: str, context: Any = None) -> None:
        """Waits as long as the latency model says, without blocking the loop, then executes the statement. Raises
        sqlite3.OperationalError where the model says that it fails.
        """
        self._pace.wait(statement)
        super().do_execute_no_params(cursor, statement, context)


class _Pace:
    """The draws of one engine in one process."""

    def __init__(self, latencies: Latencies, database: str) -> None:
        self._latencies = latencies
        self._store = latencies.store
        self._database = database
        self._streams: tuple[random.Random, ...] | None = None

    def wait(self, statement: str) -> None:
        verb = statement.split(maxsplit=1)[0].upper()
        if verb not in _READS + _WRITES:
            return
        if self._streams is None:
            number = _engine_number(self._database)
            self._streams = tuple(self._latencies.stream(f"store.{kind}.{number}") for kind in ("delays", "faults"))
        delays, faults = self._streams
        seconds = (self._store.read if verb in _READS else self._store.write).draw(delays)
        fault = self._store.faults.draw(faults)
        if fault.refused:
            raise sqlite3.OperationalError("database is locked")
        await_(asyncio.sleep(seconds + fault.delay))
        if fault.cut:
            raise sqlite3.OperationalError("disk I/O error")


def _engine_number(database: str) -> int:
    """How many engines have drawn latencies for this database, this one included: counted by the bytes of a file beside it.

    LiveKit runs each session in a process of its own: with one stream for all, every session would get the first draw.
    """
    if database == ":memory:":
        return 1
    with open(f"{database}.engines", "ab") as counter:  # appending is atomic across processes
        counter.write(b".")
        counter.flush()
        return os.lseek(counter.fileno(), 0, os.SEEK_CUR)
