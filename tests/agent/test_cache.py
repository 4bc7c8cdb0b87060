"""firstword.agent.cache: what one process keeps another finds, within bounds and age, and the cache in front forgets who is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from firstword.agent.cache.backend import Backend, Bounds, CacheFailure
from firstword.agent.cache.cache import Cache, open_cache
from firstword.agent.cache.redis import RedisServer
from firstword.agent.cache.sqlite import SQLiteFile
from tests.agent.caches import BYTES, DAY, WIDE, beside_it, file_cache, kept, on_disk, pages
from tests.redis import redis_url as redis_url

Make = Callable[[Bounds], Backend]


@pytest.fixture(params=["sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes backends of either kind; those of one test share what is kept."""
    if request.param == "sqlite":
        return lambda bounds: SQLiteFile(tmp_path, "test", bounds)
    url: str = request.getfixturevalue("redis_url")
    return lambda bounds: RedisServer(url, tmp_path.name, bounds)


@pytest.fixture
async def backend(make: Make) -> AsyncIterator[Backend]:
    async with aclosing(make(WIDE)) as made:
        yield made


# --- what every backend does


async def test_what_is_put_is_found(backend: Backend) -> None:
    """Byte for byte, by its own key, and with the time it has left."""
    assert await backend.put("a", BYTES, "ada", 100.0)
    found = await backend.get("a")
    assert found is not None
    assert found.value == BYTES
    assert 90 < found.remaining <= 100
    assert await backend.get("b") is None


async def test_a_second_connection_finds_it_too(make: Make, backend: Backend) -> None:
    """A cache that only its writer can read is none."""
    await backend.put("a", b"1", "ada", DAY)
    async with aclosing(make(WIDE)) as other:
        assert await kept(other, "a") == "a"
        await backend.put("b", b"2", "ada", DAY)
        assert await kept(other, "a", "b") == "ab"


async def test_the_newer_value_of_a_key_replaces_the_older(backend: Backend) -> None:
    """With its lifetime."""
    await backend.put("a", b"old", "ada", DAY)
    await backend.put("a", b"new", "ada", 10.0)
    found = await backend.get("a")
    assert found is not None
    assert (found.value, found.remaining <= 10) == (b"new", True)


async def test_what_has_expired_is_not_found(backend: Backend) -> None:
    """Neither at once nor later."""
    await backend.put("a", b"1", "ada", 0.001)
    await asyncio.sleep(0.01)
    assert await backend.get("a") is None


async def test_a_deleted_entry_is_gone_and_deleting_nothing_is_no_error(backend: Backend) -> None:
    """And what else there is stays."""
    await backend.put("a", b"1", "ada", DAY)
    await backend.put("b", b"1", "ada", DAY)
    await backend.delete("a")
    await backend.delete("never there")
    assert await kept(backend, "a", "b") == "b"


async def test_whose_entries_there_are(backend: Backend) -> None:
    """Each owner once, as long as something of theirs is kept."""
    assert await backend.owners() == set()
    for key, owner in (("a", "ada"), ("b", "bob"), ("c", "ada")):
        await backend.put(key, b"1", owner, DAY)
    assert await backend.owners() == {"ada", "bob"}
    await backend.delete_owner("ada")
    assert await backend.owners() == {"bob"}


async def test_all_of_an_owner_is_deleted_and_nothing_of_another(backend: Backend) -> None:
    """Whatever its keys are."""
    for key, owner in (("a", "ada"), ("b", "bob"), ("c", "ada")):
        await backend.put(key, b"1", owner, DAY)
    await backend.delete_owner("ada")
    assert await kept(backend, "a", "b", "c") == "b"


async def test_nothing_of_a_deleted_owner_is_taken_from_one_who_does_not_know_yet(make: Make, backend: Backend) -> None:
    """Another process may just be making a greeting for the account."""
    async with aclosing(make(WIDE)) as other:
        await backend.delete_owner("ada")
        assert not await other.put("a", b"1", "ada", DAY)
        assert await other.put("b", b"1", "bob", DAY)
    assert await kept(backend, "a", "b") == "b"


async def test_beyond_the_bytes_what_expires_first_goes(make: Make) -> None:
    """As much of it as is needed, and no more."""
    async with aclosing(make(Bounds(bytes=100, entries=1000))) as backend:
        for key, lifetime in (("a", 300.0), ("b", 100.0), ("c", 200.0)):
            await backend.put(key, bytes(30), "ada", lifetime)
        await backend.put("d", bytes(40), "ada", 400.0)
        assert await kept(backend, "a", "b", "c", "d") == "acd"
        await backend.put("e", bytes(50), "ada", 500.0)
        assert await kept(backend, "a", "b", "c", "d", "e") == "de"


async def test_a_replaced_or_deleted_value_leaves_its_room_to_others(make: Make) -> None:
    """The count of bytes must not drift."""
    async with aclosing(make(Bounds(bytes=100, entries=1000))) as backend:
        for _ in range(5):
            await backend.put("a", bytes(60), "ada", DAY)
        await backend.delete("a")
        await backend.put("b", bytes(60), "ada", 0.001)
        await asyncio.sleep(0.01)
        await backend.put("c", bytes(60), "bob", DAY)
        await backend.delete_owner("bob")
        await backend.put("d", bytes(50), "ada", DAY)
        await backend.put("e", bytes(50), "ada", DAY)
        assert await kept(backend, "a", "b", "c", "d", "e") == "de"


async def test_beyond_the_entries_what_expires_first_goes(make: Make) -> None:
    """However small they are."""
    async with aclosing(make(Bounds(bytes=10_000, entries=2))) as backend:
        for key, lifetime in (("a", 300.0), ("b", 100.0), ("c", 200.0)):
            await backend.put(key, b"1", "ada", lifetime)
        assert await kept(backend, "a", "b", "c") == "ac"


async def test_a_value_beyond_all_bounds_is_not_kept_and_drives_nothing_out(make: Make) -> None:
    """It would need more than there is."""
    async with aclosing(make(Bounds(bytes=100, entries=10))) as backend:
        await backend.put("a", bytes(50), "ada", DAY)
        assert not await backend.put("b", bytes(101), "ada", DAY)
        assert await kept(backend, "a", "b") == "a"


# --- the cache in front of them


async def test_neither_key_nor_owner_leaves_the_process_in_clear(tmp_path: Path) -> None:
    """And with another secret, or texts split otherwise, it is another key."""
    cache = Cache(SQLiteFile(tmp_path, "test", WIDE), deadline=60, key="a secret")
    async with aclosing(cache):
        await cache.put(("account", "+491701234567"), b"1", owner="+491701234567", lifetime=DAY)
        assert await cache.get(("account", "+491701234567"))
        assert not await cache.get(("account+", "491701234567"))
    async with aclosing(file_cache(tmp_path)) as other:
        assert not await other.get(("account", "+491701234567"))
    assert b"491701234567" not in on_disk(tmp_path)


@pytest.mark.parametrize("url", [True, False])
async def test_a_cache_is_opened_where_the_settings_say(url: bool, tmp_path: Path, redis_url: str) -> None:
    """In Redis by URL, else in a file."""
    where = redis_url if url else None
    async with aclosing(open_cache("test", WIDE, url=where, folder=tmp_path, deadline=60, key="")) as cache:
        await cache.prepare()
        assert await cache.put((tmp_path.name,), b"1", owner="ada", lifetime=DAY)
        assert await cache.get((tmp_path.name,))
    assert bool(on_disk(tmp_path)) is not url


async def test_a_damaged_value_is_a_miss_and_deleted(tmp_path: Path) -> None:
    """SQLite does not notice a flipped bit, and a caller would."""
    async with aclosing(file_cache(tmp_path)) as cache:
        await cache.put(("a",), BYTES, owner="ada", lifetime=DAY)
        with beside_it(tmp_path) as beside:
            beside.execute("UPDATE entries SET value = zeroblob(size)")
            assert await cache.get(("a",)) is None
            assert beside.execute("SELECT count(*) FROM entries").fetchone() == (0,)
        assert cache.failures == {CacheFailure.BROKEN: 1}


async def test_what_is_of_nobody_known_is_forgotten(make: Make) -> None:
    """Whatever page an owner is on it stays, and so does what is anybody's."""
    async with aclosing(Cache(make(WIDE), deadline=60)) as cache:
        for owner in ("ada", "bob", "eve", ""):
            await cache.put((owner,), b"1", owner=owner, lifetime=DAY)
        assert await cache.forget_all_but(pages(["ada"], ["bob", "new"])) == 1
        assert [bool(await cache.get((owner,))) for owner in ("ada", "bob", "eve", "")] == [True, True, False, True]
        assert await cache.forget_all_but(pages(["ada", "bob"])) == 0


async def test_a_store_that_fails_forgets_nobody(make: Make) -> None:
    """Who has not been listed is not gone."""

    async def fails() -> AsyncIterator[list[str]]:
        yield ["ada"]
        raise ConnectionError

    async with aclosing(Cache(make(WIDE), deadline=60)) as cache:
        for owner in ("ada", "bob"):
            await cache.put((owner,), b"1", owner=owner, lifetime=DAY)
        with pytest.raises(ConnectionError):
            await cache.forget_all_but(fails())
        assert await cache.get(("bob",))
