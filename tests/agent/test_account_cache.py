"""firstword.agent.accounts.account_cache: an account is read once, seen as the store has it within its age, and there when the store isn't."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from firstword.agent.accounts import examples
from firstword.agent.accounts.account_cache import FRESH, KEPT, UNKNOWN, AccountCache
from firstword.agent.accounts.account_store import StoreError, StoreFailure
from firstword.agent.accounts.model import Account, GreetingFields, SessionRow
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.cache.backend import Bounds
from firstword.agent.cache.cache import Cache
from firstword.agent.cache.sqlite import SQLiteFile

ADA, JONAS = examples.ACCOUNTS[:2]
PATIENCE = 120.0
"""Seconds, so that a busy machine's store counts as quick."""


class WatchedStore(SQLStore):
    """A real store that counts its reads, and can be slow or down."""

    reads: Counter[str]
    delay = 0.0
    down: StoreFailure | None = None

    async def greeting_fields(self, id: str) -> GreetingFields | None:
        await self._watched("first")
        return await super().greeting_fields(id)

    async def account(self, id: str) -> Account | None:
        await self._watched("whole")
        return await super().account(id)

    async def _watched(self, what: str) -> None:
        self.reads[what] += 1
        await asyncio.sleep(self.delay)
        if self.down is not None:
            raise StoreError(self.down, "as the test has it")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[WatchedStore]:
    async with aclosing(await WatchedStore.open(f"sqlite+aiosqlite:///{tmp_path / 'accounts.db'}")) as opened:
        opened.reads = Counter()
        yield opened


@pytest.fixture
async def kept(tmp_path: Path, clock: Clock) -> AsyncIterator[Cache]:
    backend = SQLiteFile(tmp_path / "cache", "accounts", Bounds(10_000_000, 100), now=clock)
    async with aclosing(Cache(backend, deadline=60)) as cache:
        yield cache


@pytest.fixture
async def cache(store: WatchedStore, kept: Cache) -> AsyncIterator[AccountCache]:
    async with aclosing(AccountCache(store, kept, patience=PATIENCE)) as made:
        yield made


async def read(store: SQLStore, kept: Cache, id: str) -> Account | None:
    """What a session gets, first to last; when it is done, the cache has been written."""
    async with aclosing(AccountCache(store, kept, patience=PATIENCE)) as cache:
        found = await cache.first(id)
        return None if found.account is None else await cache.complete(found.account)


async def test_a_miss_reads_what_the_greeting_needs_and_the_rest_on_first_use(
    store: WatchedStore, cache: AccountCache
) -> None:
    """The first read is the small one; nobody who only greets pays for the other."""
    found = await cache.first(ADA.id)
    assert not found.hit
    assert type(found.account) is GreetingFields
    assert store.reads == {"first": 1}
    assert await cache.complete(found.account) == ADA
    assert store.reads == {"first": 1, "whole": 1}


@pytest.mark.parametrize("account", examples.ACCOUNTS, ids=lambda account: account.id)
async def test_the_next_session_reads_nothing(account: Account, store: WatchedStore, kept: Cache) -> None:
    """It has the whole account at once, to the last text in whatever script."""
    assert await read(store, kept, account.id) == account
    store.reads.clear()
    async with aclosing(AccountCache(store, kept, patience=PATIENCE)) as cache:
        found = await cache.first(account.id)
        assert found.hit
        assert found.account == account
        assert await cache.complete(account) is account
    assert not store.reads


async def test_a_change_in_the_store_is_seen_within_its_age(store: WatchedStore, kept: Cache, clock: Clock) -> None:
    """Not before, as nobody asks; not later than that."""
    await read(store, kept, ADA.id)
    await store.save(replace(ADA, name="Ada Byron"))
    clock.now += FRESH - 1
    assert await read(store, kept, ADA.id) == ADA
    clock.now += 1
    changed = await read(store, kept, ADA.id)
    assert changed is not None
    assert changed.name == "Ada Byron"


async def test_a_name_that_was_read_minutes_before_the_rest_is_not_cached_as_new(
    store: WatchedStore, kept: Cache, cache: AccountCache
) -> None:
    """A job that came ahead of its caller reads the rest long after the first fields."""
    found = await cache.first(ADA.id)
    await store.save(replace(ADA, name="Ada Byron"))
    assert found.account is not None
    await cache.complete(found.account)
    await cache.aclose()
    again = await read(store, kept, ADA.id)
    assert again is not None
    assert again.name == "Ada Byron"


async def test_an_unknown_account_is_asked_for_again_only_after_a_while(
    store: WatchedStore, kept: Cache, clock: Clock
) -> None:
    """Short, as it may be made at any moment."""
    assert await read(store, kept, "nobody") is None
    assert await read(store, kept, "nobody") is None
    assert store.reads == {"first": 1}
    await store.save(replace(ADA, id="nobody"))
    clock.now += UNKNOWN
    assert await read(store, kept, "nobody") == replace(ADA, id="nobody")


async def test_sessions_that_ask_at_once_read_once(store: WatchedStore, cache: AccountCache) -> None:
    """The first fields, and the rest; and one who gives up takes nothing from the others."""
    store.delay = 0.02
    impatient = asyncio.create_task(cache.first(ADA.id))
    others = [asyncio.create_task(cache.first(ADA.id)) for _ in range(5)]
    await asyncio.sleep(0.01)
    impatient.cancel()
    found = await asyncio.gather(*others)
    assert {one.account.id for one in found if one.account} == {ADA.id}
    wholes = await asyncio.gather(*[cache.complete(one.account) for one in found if one.account])
    assert wholes == [ADA] * 5
    assert store.reads == {"first": 1, "whole": 1}


async def test_an_account_whose_readers_have_all_given_up_is_cached_nevertheless(
    store: WatchedStore, kept: Cache, cache: AccountCache
) -> None:
    """A deadline struck: the next caller does not start from nothing."""
    store.delay = 0.05
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await cache.complete(GreetingFields(ADA.id, "", "", "", "", ""))
    while (found := await kept.get(("account", ADA.id))) is None:  # noqa: ASYNC110  # nothing tells when it is written
        await asyncio.sleep(0.01)
    assert b"Whitfield" in found.value
    assert store.reads == {"whole": 1}


async def test_a_store_that_is_down_is_stood_in_for_by_an_older_copy(
    store: WatchedStore, kept: Cache, clock: Clock
) -> None:
    """For an hour; without a copy, and after that, the error is the session's to fall back from."""
    await read(store, kept, ADA.id)
    store.down = StoreFailure.UNREACHABLE
    clock.now += KEPT - 1
    assert await read(store, kept, ADA.id) == ADA
    with pytest.raises(StoreError):
        await read(store, kept, JONAS.id)
    clock.now += 1
    with pytest.raises(StoreError):
        await read(store, kept, ADA.id)


async def test_a_slow_store_is_waited_for_no_longer_than_patience_where_there_is_a_copy(
    store: WatchedStore, kept: Cache, clock: Clock
) -> None:
    """Without a copy it is waited for as long as the session's own deadline lets it."""
    await read(store, kept, ADA.id)
    clock.now += FRESH
    store.delay, patience = 30.0, 0.05
    async with aclosing(AccountCache(store, kept, patience=patience)) as cache:
        assert (await cache.first(ADA.id)).account == ADA
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(patience * 4):
                await cache.first(JONAS.id)


async def record(store: SQLStore, *ids: str) -> None:
    for number, id in enumerate(ids):
        await store.record_session(SessionRow(id=f"job {number}", account=id, started=float(number)))


async def test_common_accounts_are_there_before_anybody_calls(
    store: WatchedStore, kept: Cache, cache: AccountCache, clock: Clock
) -> None:
    """Those that call most; read again only when they would soon be too old."""
    await record(store, JONAS.id, ADA.id, ADA.id, "1003", JONAS.id, ADA.id)
    assert await store.common(2) == [ADA.id, JONAS.id]
    assert await cache.preload([ADA.id, JONAS.id]) == 2
    await cache.aclose()
    assert (await cache.first(ADA.id)).hit
    assert (await cache.first(JONAS.id)).hit
    assert not (await cache.first("1003")).hit
    assert await cache.preload([ADA.id, JONAS.id]) == 0
    clock.now += FRESH / 2
    assert await cache.preload([ADA.id, JONAS.id]) == 2


async def test_sessions_of_nobody_or_of_deleted_accounts_make_no_account_common(store: WatchedStore) -> None:
    """Who called comes first; a young store's other accounts follow."""
    await record(store, ADA.id, JONAS.id)
    await store.record_session(SessionRow(id="generic", account=None, started=9.0))
    await store.delete(ADA.id)
    assert await store.common(5) == [JONAS.id, "1003", "1004", "1005", "1006"]


async def test_one_broken_row_does_not_keep_the_others_from_being_preloaded(
    store: WatchedStore, cache: AccountCache
) -> None:
    """While a store that is down ends the preloading, which has nothing to gain then."""
    await record(store, ADA.id, JONAS.id)
    store.down = StoreFailure.BROKEN
    assert await cache.preload([ADA.id, JONAS.id]) == 2
    store.down = StoreFailure.UNREACHABLE
    with pytest.raises(StoreError):
        await cache.preload([ADA.id, JONAS.id])


@pytest.mark.parametrize(
    "value", [b"{", b"[]", b'{"id": "1"}', b'"text"', b"\xff", b"3"], ids=["cut", "list", "part", "text", "bytes", "3"]
)
async def test_a_copy_of_another_shape_is_a_miss(
    value: bytes, store: WatchedStore, kept: Cache, cache: AccountCache
) -> None:
    """Another version of us may share the cache."""
    await kept.put(("account", ADA.id), value, owner=ADA.id, lifetime=KEPT)
    assert not (await cache.first(ADA.id)).hit


@pytest.mark.parametrize(("name", "value"), [("tools", "look_up"), ("knowledge", [1]), ("name", None)])
async def test_a_copy_with_a_field_of_another_type_is_a_miss(
    name: str, value: object, store: WatchedStore, kept: Cache, cache: AccountCache
) -> None:
    """It would fail much later, in the middle of a conversation."""
    wrong = replace(ADA, **{name: value})
    await kept.put(("account", ADA.id), json.dumps(asdict(wrong)).encode(), owner=ADA.id, lifetime=KEPT)
    assert not (await cache.first(ADA.id)).hit
