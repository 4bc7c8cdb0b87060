"""Reads accounts through a cache: first what the greeting needs, the rest on first use, and none twice a minute.

Between the account store and the start's tasks, on a `Cache` that other processes and machines share. A change in the
store is seen within `FRESH` seconds. An older copy is used only when the store is down or late.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, cast

from firstword.agent.accounts.account_store import AccountStore, StoreError, StoreFailure
from firstword.agent.accounts.model import Account, GreetingFields
from firstword.agent.cache.backend import Bounds
from firstword.agent.cache.cache import Cache

BOUNDS: Final = Bounds(bytes=64_000_000, entries=20_000)
"""Room for a thousand accounts with much knowledge, or twenty thousand with little."""
FRESH: Final = 60.0
"""Seconds for which a cached account is used without reading it again."""
KEPT: Final = 3600.0
"""Seconds for which a cached account can stand in when the store fails."""
UNKNOWN: Final = 10.0
"""Seconds for which an id that the store does not know is not looked up again."""
_TEXTS: Final = ("tools", "knowledge")


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """The account that a lookup found, and whether it came from the cache."""

    account: GreetingFields | None
    """A whole Account if all of it was at hand. None if the store has no account of this id."""
    hit: bool
    """Whether it came from the cache."""


@dataclass(frozen=True, slots=True, repr=False)
class _Copy:
    account: Account | None
    age: float
    """Seconds since it was read."""


class AccountCache:
    """Reads the accounts of one store through a cache. It belongs to the event loop that first uses it."""

    def __init__(self, store: AccountStore, cache: Cache, *, patience: float) -> None:
        """patience: seconds that the store may take if an older copy is cached; less than the start's own deadline."""
        self._store = store
        self._cache = cache
        self._patience = patience
        self._reading: Final = dict[tuple[str, str], asyncio.Task[Any]]()
        self._keeping: Final = set[asyncio.Task[bool]]()

    async def first(self, id: str) -> Found:
        """Returns what the greeting needs of the account, or all of it if it is cached. Raises StoreError.

        A copy that is older than `FRESH` seconds is returned only if the store fails or takes longer than `patience`.
        """
        copy = await self._copy(id)
        if copy is not None and copy.age < FRESH:
            return Found(copy.account, hit=True)
        reading = self._once("first", id, lambda: self._read_first(id))
        try:
            async with asyncio.timeout(None if copy is None else self._patience):
                return Found(await asyncio.shield(reading), hit=False)
        except (StoreError, TimeoutError):
            if copy is None:
                raise
            return Found(copy.account, hit=True)

    async def complete(self, first: GreetingFields) -> Account | None:
        """Returns the whole account of which `first` is a part. None if it has been deleted meanwhile. Raises
        StoreError.

        Unless `first` is whole, it reads the whole row anew and caches it. `first` may be minutes old, and a cached
        account must be one row as it is now.
        """
        if isinstance(first, Account):
            return first
        return await asyncio.shield(self._once("whole", first.id, lambda: self._read_whole(first.id)))

    async def preload(self, accounts: Sequence[str]) -> int:
        """Reads again the accounts whose copies would soon be too old, one by one. Returns how many it read. Raises
        StoreError.
        """
        read = 0
        for id in random.sample(accounts, len(accounts)):  # workers that start together share the work
            copy = await self._copy(id)
            if copy is None or copy.age >= FRESH / 2:
                try:
                    await asyncio.shield(self._once("whole", id, lambda id=id: self._read_whole(id)))
                except StoreError as error:
                    if (
                        error.reason is not StoreFailure.BROKEN
                    ):  # a row that can't be read is that account's trouble alone
                        raise
                read += 1
        return read

    async def aclose(self) -> None:
        """Cancels readings under way, and waits until what has been read is cached. Does not close store and cache."""
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await asyncio.gather(*self._keeping)

    # --- the cache

    async def _copy(self, id: str) -> _Copy | None:
        entry = await self._cache.get(_key(id))
        if entry is None:
            return None
        if not entry.value:
            return _Copy(None, age=0)  # expires before it is too old
        account = _decoded(entry.value)
        return None if account is None or account.id != id else _Copy(account, age=KEPT - entry.remaining)

    def _keep(self, id: str, account: Account | None) -> None:
        """In the background: whoever asked has the account already."""
        value, lifetime = (b"", UNKNOWN) if account is None else (_encoded(account), KEPT)
        keeping = asyncio.create_task(self._cache.put(_key(id), value, owner=id, lifetime=lifetime))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)

    # --- the store

    async def _read_first(self, id: str) -> GreetingFields | None:
        found = await self._store.greeting_fields(id)
        if found is None:
            self._keep(id, None)
        return found

    async def _read_whole(self, id: str) -> Account | None:
        account = await self._store.account(id)
        self._keep(id, account)
        return account

    def _once(self, what: str, id: str, read: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        """The one reading of this that is under way: it goes on for the others, and the cache, when one gives up."""
        key = what, id
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.create_task(read())
            reading.add_done_callback(lambda task: self._read(key, task))
        return reading

    def _read(self, key: tuple[str, str], task: asyncio.Task[Any]) -> None:
        if self._reading.get(key) is task:
            del self._reading[key]
        if not task.cancelled():
            task.exception()  # seen, also where everybody who waited has given up


def _key(id: str) -> tuple[str, ...]:
    return "account", id


def _encoded(account: Account) -> bytes:
    return json.dumps(asdict(account)).encode()


def _decoded(value: bytes) -> Account | None:
    """The account; None when another version of us wrote another shape."""
    try:
        kept: Any = json.loads(value)
        row: dict[str, Any] = {field.name: kept[field.name] for field in fields(Account)}
    except (ValueError, KeyError, TypeError):
        return None
    for name, value in row.items():
        if name in _TEXTS and _is_texts(value):
            row[name] = tuple(value)
        elif name in _TEXTS or not isinstance(value, str):
            return None
    return Account(**row)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[Any]", value))
