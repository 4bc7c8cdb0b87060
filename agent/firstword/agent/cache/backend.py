"""What a place to keep bytes must offer, so that a file and Redis are the same to the caches.

Bottom of the package, below `sqlite.py`, `redis.py` and the `Cache` in front of them.

    CacheUnavailable    with its `reason`: unreachable, late, locked, full, broken
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

GONE_FOR: Final = 300.0
"""Seconds for which nothing of a deleted owner is taken: another process may still hold, and speak, what it read."""


class CacheFailure(StrEnum):
    """Why a cache could not serve."""

    UNREACHABLE = "unreachable"
    """No connection, or a file that can't be opened, read or written."""
    LATE = "late"
    """No answer within the deadline."""
    LOCKED = "locked"
    """Another process held the file for too long."""
    FULL = "full"
    """No space left."""
    BROKEN = "broken"
    """It answered, but not as a cache of ours does."""


class CacheUnavailable(Exception):
    """The cache could not serve; `reason` says why. Its text holds neither key nor value."""

    def __init__(self, reason: CacheFailure, detail: str) -> None:
        self.reason: Final = reason
        super().__init__(f"cache {reason}: {detail}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept; beyond it, what would expire first goes first."""

    bytes: int
    """Of the values."""
    entries: int


@dataclass(frozen=True, slots=True, repr=False)
class CacheEntry:
    """What was found."""

    value: bytes
    remaining: float
    """Seconds until it expires."""


class Backend(Protocol):
    """Bytes by key, each with an owner and a lifetime. Keys and owners are hashes. Every method raises CacheUnavailable."""

    async def prepare(self) -> None:
        """Open what the first lookup would open; drop what has expired."""
        ...

    async def get(self, key: str) -> CacheEntry | None:
        """The entry; None when there is none or it has expired."""
        ...

    async def put(self, key: str, value: bytes, owner: str, lifetime: float) -> bool:
        """Keep a value under the key for `lifetime` seconds. Returns False where it is too big, or its owner was deleted."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the entry, if there is one."""
        ...

    async def owners(self) -> set[str]:
        """Whose entries there are."""
        ...

    async def delete_owner(self, owner: str) -> None:
        """Delete all of the owner's entries, and take none of it for `GONE_FOR` seconds."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...
