"""What a place that keeps bytes must offer, so that a file and Redis are the same to the caches.

Bottom of the package, below `sqlite.py`, `redis.py` and the `Cache` in front of them.

    CacheUnavailable    with its `reason`: unreachable, late, locked, full, broken
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

GONE_FOR: Final = 300.0
"""Seconds after an owner's deletion in which nothing of theirs is kept. Another process may still hold, and speak, what
it read.
"""


class CacheFailure(StrEnum):
    """The reasons why a cache could not serve, as CacheUnavailable has them."""

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
    """Raised when the cache could not serve; `reason` says why. Its text holds neither key nor value."""

    def __init__(self, reason: CacheFailure, detail: str) -> None:
        self.reason: Final = reason
        super().__init__(f"cache {reason}: {detail}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of a cache. Beyond them the entries that would expire first are deleted."""

    bytes: int
    """Most bytes of all values together."""
    entries: int


@dataclass(frozen=True, slots=True, repr=False)
class CacheEntry:
    """A value that was found in a cache, and the seconds for which it is still valid."""

    value: bytes
    remaining: float
    """Seconds until the entry expires."""


class Backend(Protocol):
    """Protocol of a place that keeps bytes by key, each with an owner and a lifetime. Keys and owners are hashes.

    Every method raises CacheUnavailable.
    """

    async def prepare(self) -> None:
        """Opens what the first lookup would otherwise open, and may delete entries that have expired."""
        ...

    async def get(self, key: str) -> CacheEntry | None:
        """Returns the entry of the key, or None if there is none or it has expired."""
        ...

    async def put(self, key: str, value: bytes, owner: str, lifetime: float) -> bool:
        """Keeps a value under the key for `lifetime` seconds. Returns False if it is too big, or its owner was deleted."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the entry, if there is one."""
        ...

    async def owners(self) -> set[str]:
        """Returns the owners that the cache has entries of."""
        ...

    async def delete_owner(self, owner: str) -> None:
        """Deletes all entries of the owner, and keeps none of theirs for `GONE_FOR` seconds."""
        ...

    async def aclose(self) -> None:
        """Closes files or connections that are open."""
        ...
