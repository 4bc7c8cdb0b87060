"""The cache as a session uses it: a lookup returns an entry or None, within a deadline, and never raises.

It stands between what is cached (accounts, audio) and where that is kept. By default that is a file which the processes
of a machine share (`sqlite.py`). With FIRSTWORD_CACHE_URL it is a Redis which machines share (`redis.py`). LiveKit runs
each job in a process of its own, so a cache in memory would never hit.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from firstword.agent.cache.backend import Backend, Bounds, CacheEntry, CacheFailure, CacheUnavailable
from firstword.agent.failures import Failing
from firstword.agent.folders import cache_folder

WRITE_DEADLINE: Final = 2.0
"""Seconds for a write: nobody waits for one."""
DELETE_DEADLINE: Final = 10.0
"""Seconds for a deletion, which is somebody's right and not a matter of speed."""
PAUSE: Final = 10.0
"""Seconds without lookups after one that got no answer: a start pays for an outage once, not for each lookup."""
_SIGNATURE: Final = 16
"""Bytes before each value. A damaged greeting is a loud noise, and an account under another's key is another's prompt."""
_PROBE: Final = ("probe",)

Key = tuple[str, ...]
"""The key of an entry: any number of texts. They are hashed before they leave the process."""
T = TypeVar("T")


def open_cache(name: str, bounds: Bounds, *, url: str | None, folder: Path | None, deadline: float, key: str) -> Cache:
    """Returns the cache of this name: in Redis at `url`, else in a file in `folder`, else in the user's cache folder.

    `deadline` is seconds for a lookup. `key` is the secret that hashes are keyed with; it may be empty. Opens nothing
    yet. Raises CacheURLError for a URL that no connection can be made of.
    """
    if url is not None:
        try:
            from firstword.agent.cache.redis import RedisServer  # 230 ms of imports, and an extra

            return Cache(RedisServer(url, name, bounds), deadline=deadline, key=key, name=name)
        except (ValueError, TypeError):  # the client's texts quote the URL
            raise CacheURLError from None
    from firstword.agent.cache.sqlite import SQLiteFile

    return Cache(SQLiteFile(folder or cache_folder(), name, bounds), deadline=deadline, key=key, name=name)


class CacheURLError(ValueError):
    """Raised for a URL that is wrong in itself; no server has been asked. Its text shows nothing of the URL, which may
    hold a password.
    """


class Cache:
    """A cache that never raises: a backend with deadlines, hashed keys and checked values. It belongs to one event
    loop.

    After a lookup that got no answer it is not asked for `PAUSE` seconds.
    """

    def __init__(self, backend: Backend, *, deadline: float, key: str = "", name: str = "test") -> None:
        self.failures: Final = Counter[CacheFailure]()
        """How often the cache could not serve, by reason."""
        self._name = f"{name} cache"
        self._failing = Failing(self._name)
        self._backend = backend
        self._deadline = deadline
        self._secret = key.encode()
        self._paused_until = 0.0

    async def prepare(self) -> None:
        """Opens what the first lookup would otherwise open. Called in a process that is idle."""
        await self._guarded(self._backend.prepare, WRITE_DEADLINE)

    async def get(self, key: Key) -> CacheEntry | None:
        """Returns the entry of the key. Returns None if there is none, it is damaged, or the cache did not answer in
        time.
        """
        if time.monotonic() < self._paused_until:
            return None
        hashed = self._hash(key)
        entry = await self._guarded(lambda: self._backend.get(hashed), self._deadline)
        if entry is None:
            return None
        signature, value = entry.value[:_SIGNATURE], entry.value[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(hashed, value)):
            self._failed(CacheFailure.BROKEN, "a value that is damaged, or was not written by us under this key")
            await self.delete(key)
            return None
        return CacheEntry(value, entry.remaining)

    async def put(self, key: Key, value: bytes, *, owner: str, lifetime: float) -> bool:
        """Keeps the value for `lifetime` seconds. Returns whether it was kept. `owner` is whose it is: an account's id."""
        if time.monotonic() < self._paused_until:
            return False
        hashed, whose = self._hash(key), self._hash((owner,))
        signed = self._sign(hashed, value) + value
        return bool(await self._guarded(lambda: self._backend.put(hashed, signed, whose, lifetime), WRITE_DEADLINE))

    async def keeps(self) -> bool:
        """Returns whether the cache can keep something now. It tries with an entry that expires within a second."""
        if await self.put(_PROBE, b"", owner="", lifetime=1.0):
            self._failing.works()
            return True
        return False

    async def delete(self, key: Key) -> bool:
        """Deletes the entry of the key. Returns False if that could not be done."""
        hashed = self._hash(key)
        return await self._done(lambda: self._backend.delete(hashed))

    async def forget(self, owner: str) -> bool:
        """Deletes the owner's entries, for all machines that share the cache. Returns False if that could not be done."""
        hashed = self._hash((owner,))
        return await self._done(lambda: self._backend.delete_owner(hashed))

    async def forget_all_but(self, ids: AsyncIterable[Sequence[str]]) -> int | None:
        """Deletes the entries of every owner that is not in `ids`, for all machines that share the cache. Returns the
        number of owners deleted.

        Returns None if the cache could not list its owners, or not all could be deleted. ids: pages of owners, from the
        store that everybody who shares the cache reads. They are read after the cache has listed its owners, so that a
        new one is not missing. If reading them raises, nothing is deleted.
        """
        gone = await self._guarded(self._backend.owners, DELETE_DEADLINE)
        if gone is None:
            return None
        gone.discard(self._hash(("",)))  # anybody's
        if gone:
            async for page in ids:
                gone.difference_update(self._hash((id,)) for id in page)
        deleted = sum([await self._done(lambda owner=owner: self._backend.delete_owner(owner)) for owner in gone])
        return deleted if deleted == len(gone) else None

    async def aclose(self) -> None:
        """Closes the backend. The cache is not used afterwards."""
        await self._guarded(self._backend.aclose, WRITE_DEADLINE)

    async def _done(self, work: Callable[[], Awaitable[None]]) -> bool:
        async def done() -> bool:
            await work()
            return True

        return bool(await self._guarded(done, DELETE_DEADLINE))

    async def _guarded(self, work: Callable[[], Awaitable[T]], within: float) -> T | None:
        try:
            async with asyncio.timeout(within):
                return await work()
        except TimeoutError:
            self._failed(CacheFailure.LATE, f"no answer within {within:g} s")
        except CacheUnavailable as error:
            self._failed(error.reason, str(error))
        return None

    def _failed(self, reason: CacheFailure, detail: str) -> None:
        if reason in (CacheFailure.UNREACHABLE, CacheFailure.LATE):
            self._paused_until = time.monotonic() + PAUSE
        self._failing.failed(reason, f"sessions go on without the {self._name}: {detail}")
        self.failures[reason] += 1

    def _hash(self, texts: Key) -> str:
        # JSON, so that ("a", "b") and ("ab", "") are two keys
        return hmac.digest(self._secret, json.dumps(texts).encode(), "sha256").hex()

    def _sign(self, hashed: str, value: bytes) -> bytes:
        """Ties the value to its key and, where there is one, to our secret: nobody else can write one that we take."""
        return hmac.digest(self._secret, hashed.encode() + value, "sha256")[:_SIGNATURE]
