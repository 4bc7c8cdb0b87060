"""A cache in memory that forgets nothing, for tests on virtual time.

The cache in a file writes in a thread, for which that time does not wait.
"""

from __future__ import annotations

from firstword.agent.cache.backend import CacheEntry
from firstword.agent.cache.cache import Cache


def memory_cache() -> Cache:
    """Returns a new cache in memory, whose lookups take no time."""
    return Cache(_Memory(), deadline=0.2)


class _Memory:
    """Bytes by key, each with its owner."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, bytes]] = {}

    async def prepare(self) -> None: ...

    async def get(self, key: str) -> CacheEntry | None:
        return CacheEntry(self._entries[key][1], 3600.0) if key in self._entries else None

    async def put(self, key: str, value: bytes, owner: str, lifetime: float) -> bool:
        self._entries[key] = owner, value
        return True

    async def delete(self, key: str) -> None:
        self._entries.pop(key, None)

    async def owners(self) -> set[str]:
        return {owner for owner, _ in self._entries.values()}

    async def delete_owner(self, owner: str) -> None:
        self._entries = {key: entry for key, entry in self._entries.items() if entry[0] != owner}

    async def aclose(self) -> None: ...
