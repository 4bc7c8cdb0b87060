"""A cache in a file for tests, what to keep in one, and a look at what is really kept."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

from firstword.agent.cache.backend import Backend, Bounds
from firstword.agent.cache.cache import Cache
from firstword.agent.cache.sqlite import SQLiteFile

PATIENCE = 120.0
"""Seconds: only what hangs takes so long."""
WIDE = Bounds(bytes=10_000_000, entries=1000)
BYTES = bytes(range(256)) * 600
"""As much as a greeting of three seconds."""
DAY = 86_400.0


async def kept(backend: Backend, *keys: str) -> str:
    """Those of the keys that are there."""
    return "".join([key for key in keys if await backend.get(key)])


def file_cache(folder: Path) -> Cache:
    """A cache in a file of this folder, as one process has it."""
    return Cache(SQLiteFile(folder, "test", WIDE), deadline=60.0)


def newest(folder: Path) -> Path:
    """The file that is in use: one that was damaged is replaced by one of a higher number."""
    return max(folder.glob("*.db"), key=lambda path: int(path.stem.rpartition("-")[2]))


def on_disk(folder: Path) -> bytes:
    """All there is in the folder's files."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


def beside_it(folder: Path) -> closing[sqlite3.Connection]:
    """Another program's connection to the cache's file."""
    return closing(sqlite3.connect(newest(folder), isolation_level=None))


async def pages(*pages: list[str]) -> AsyncIterator[list[str]]:
    """Owners page by page, as a store lists its accounts."""
    for page in pages:
        yield page
