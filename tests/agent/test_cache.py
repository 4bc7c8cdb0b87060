"""agent/caches: what one process keeps another finds, within bounds and age; and no fault of the cache reaches a session."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, cast

import pytest

from agent.caches.backend import Backend, Bounds, CacheUnavailable, Reason
from agent.caches.cache import Cache, open_cache
from agent.caches.redis import RedisServer
from agent.caches.sqlite import SQLiteFile
from agent.settings import SettingsError
from tests.redis import redis_url as redis_url

Make = Callable[[Bounds], Backend]
WIDE = Bounds(bytes=10_000_000, entries=1000)
BYTES = bytes(range(256)) * 600
"""As much as a greeting of three seconds."""
DAY = 86_400.0


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.real)])
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


async def kept(backend: Backend, *keys: str) -> str:
    """Those of the keys that are there."""
    return "".join([key for key in keys if await backend.get(key)])


def file_cache(folder: Path) -> Cache:
    return Cache(SQLiteFile(folder, "test", WIDE), deadline=0.2)


def newest(folder: Path) -> Path:
    return max(folder.glob("*.db"), key=lambda path: int(path.stem.rpartition("-")[2]))


def on_disk(folder: Path) -> bytes:
    """All there is in the folder's files."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


def beside_it(folder: Path) -> closing[sqlite3.Connection]:
    """Another program's connection to the cache's file."""
    return closing(sqlite3.connect(newest(folder), isolation_level=None))


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that has `cache`, a cache in the folder of its first argument, and `folder`."""
    program = f"""
import asyncio, sys
from pathlib import Path
from agent.caches.backend import Bounds
from agent.caches.cache import Cache
from agent.caches.sqlite import SQLiteFile
folder = Path(sys.argv[1])
cache = Cache(SQLiteFile(folder, "test", Bounds(10_000_000, 1000)), deadline=5.0)
async def main():
{code}
    await cache.aclose()
asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out.strip()


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
    cache = Cache(SQLiteFile(tmp_path, "test", WIDE), deadline=1, key="a secret")
    async with aclosing(cache):
        await cache.put(("account", "+491701234567"), b"1", owner="+491701234567", lifetime=DAY)
        assert await cache.get(("account", "+491701234567"))
        assert not await cache.get(("account+", "491701234567"))
    async with aclosing(file_cache(tmp_path)) as other:
        assert not await other.get(("account", "+491701234567"))
    assert b"491701234567" not in on_disk(tmp_path)


@pytest.mark.real
@pytest.mark.parametrize("url", [True, False])
async def test_a_cache_is_opened_where_the_settings_say(url: bool, tmp_path: Path, redis_url: str) -> None:
    """In Redis by URL, else in a file."""
    where = redis_url if url else None
    async with aclosing(open_cache("test", WIDE, url=where, folder=tmp_path, deadline=1, key="")) as cache:
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
        assert cache.failures == {Reason.BROKEN: 1}


async def pages(*pages: list[str]) -> AsyncIterator[list[str]]:
    for page in pages:
        yield page


async def test_what_is_of_nobody_known_is_forgotten(make: Make) -> None:
    """Whatever page an owner is on it stays, and so does what is anybody's."""
    async with aclosing(Cache(make(WIDE), deadline=1)) as cache:
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

    async with aclosing(Cache(make(WIDE), deadline=1)) as cache:
        for owner in ("ada", "bob"):
            await cache.put((owner,), b"1", owner=owner, lifetime=DAY)
        with pytest.raises(ConnectionError):
            await cache.forget_all_but(fails())
        assert await cache.get(("bob",))


# --- the file


async def test_only_its_user_may_read_the_file(tmp_path: Path) -> None:
    """It holds who called and what they were told: neither it nor SQLite's files beside it are anybody else's."""
    async with aclosing(file_cache(tmp_path / "new")) as cache:
        await cache.put(("a",), b"1", owner="ada", lifetime=DAY)
        await cache.get(("a",))
        files = list((tmp_path / "new").iterdir())
        assert len(files) == 3
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


async def test_deleted_bytes_are_on_the_disk_no_more(tmp_path: Path) -> None:
    """Not in a free page, not in the log."""
    async with aclosing(file_cache(tmp_path)) as cache:
        await cache.put(("a",), b"Ada Whitfield" * 1000, owner="ada", lifetime=DAY)
        assert b"Ada Whitfield" in on_disk(tmp_path)
        assert await cache.forget_all_but(pages(["bob"])) == 1
        assert b"Ada Whitfield" not in on_disk(tmp_path)


async def test_a_clock_that_is_set_back_makes_nothing_older_than_it_is(tmp_path: Path) -> None:
    """What was kept by the later clock has an age that nobody knows: a miss."""
    clock = [1000.0]
    async with aclosing(SQLiteFile(tmp_path, "test", WIDE, now=lambda: clock[0])) as backend:
        await backend.put("a", b"1", "ada", 60.0)
        clock[0] = 1059.9
        assert await kept(backend, "a") == "a"
        clock[0] = 1060.0
        assert await kept(backend, "a") == ""
        clock[0] = 900.0
        assert await kept(backend, "a") == ""


async def test_an_idle_process_drops_what_has_expired(tmp_path: Path) -> None:
    """Personal audio does not stay on the disk for want of calls."""
    clock = [1000.0]
    async with aclosing(SQLiteFile(tmp_path, "test", WIDE, now=lambda: clock[0])) as backend:
        await backend.put("a", b"1", "ada", 60.0)
        clock[0] = 1061.0
        await backend.prepare()
        with beside_it(tmp_path) as beside:
            assert beside.execute("SELECT count(*) FROM entries").fetchone() == (0,)


def test_processes_that_start_at_once_share_one_file(tmp_path: Path) -> None:
    """Whoever makes it, none of them loses what another has put."""
    code = """
    await cache.put((sys.argv[2],), b"1", owner="ada", lifetime=1000)
    print("".join(sorted([n for n in "0123" if await cache.get((n,))])), dict(cache.failures))
"""
    processes = [run(code, tmp_path, number) for number in range(4)]
    outputs = [output(process) for process in processes]
    assert all(out.endswith("{}") for out in outputs), outputs
    print_all = """
    print("".join([n for n in "0123" if await cache.get((n,))]))
"""
    assert output(run(print_all, tmp_path)) == "0123"
    assert [file.name for file in tmp_path.glob("*.db")] == ["test.1-1.db"]


def test_no_process_reads_nonsense_or_fails_when_the_file_is_damaged_under_it(tmp_path: Path) -> None:
    """Four read and write while it is overwritten, cut, and deleted; each reads only what one of them wrote."""
    code = """
    print("ready", flush=True)
    stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    rounds = 0
    while not stop.done():
        number = str(rounds % 7)
        await cache.put((number,), number.encode() * 50_000, owner=number, lifetime=1000)
        await asyncio.sleep(0)
        for other in "0123456":
            found = await cache.get((other,))
            assert found is None or found.value == other.encode() * 50_000
        rounds += 1
    print(rounds > 3)
"""
    processes = [run(code, tmp_path) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for damage in ("overwrite", "cut", "empty", "delete", "overwrite"):
        time.sleep(0.4)
        path = newest(tmp_path)
        if damage == "delete":
            for file in tmp_path.glob("*.db*"):
                file.unlink(missing_ok=True)
        else:
            with path.open("r+b") as file:
                size = os.fstat(file.fileno()).st_size
                file.truncate({"overwrite": size, "cut": size // 3, "empty": 0}[damage])
                if damage == "overwrite":
                    file.write(os.urandom(size))
    time.sleep(0.4)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [output(process) for process in processes] == ["True"] * 4
    keep = """
    await cache.put(("after",), b"kept", owner="ada", lifetime=1000)
    print(await cache.get(("after",)) is not None)
"""
    find = """
    print(await cache.get(("after",)) is not None)
"""
    assert [output(run(code, tmp_path)) for code in (keep, find)] == ["True", "True"]
    assert len(list(tmp_path.glob("*.db"))) == 1


@pytest.mark.parametrize("damage", ["garbage", "empty", "half"])
async def test_a_file_that_was_damaged_before_the_start_is_replaced(damage: str, tmp_path: Path) -> None:
    """The first lookup is a miss, and the cache works again."""
    async with aclosing(file_cache(tmp_path)) as cache:
        await cache.put(("a",), BYTES, owner="ada", lifetime=DAY)
    file = newest(tmp_path)
    whole = file.read_bytes()
    file.write_bytes({"garbage": b"?" * len(whole), "empty": b"", "half": whole[: len(whole) // 2]}[damage])
    async with aclosing(file_cache(tmp_path)) as cache:
        assert await cache.get(("a",)) is None
        assert await cache.put(("b",), b"1", owner="ada", lifetime=DAY)
        assert await cache.get(("b",))


def test_a_full_disk_is_a_cache_that_keeps_nothing_new_and_still_deletes(tmp_path: Path) -> None:
    """What is there is still read; deleting an account does not fail for want of space."""
    code = """
    import resource
    await cache.put(("a",), b"Ada Whitfield" * 5000, owner="ada", lifetime=1000)
    await cache.prepare()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    print(await cache.put(("b",), bytes(100_000), owner="ada", lifetime=1000))
    print(await cache.get(("a",)) is not None, *cache.failures)
    async def others():
        yield ["bob"]
    print(await cache.forget_all_but(others()))
    print(await cache.get(("a",)))
"""
    assert output(run(code, tmp_path)).splitlines() == ["False", "True full", "1", "None"]
    assert b"Ada Whitfield" not in on_disk(tmp_path)


async def test_a_locked_file_is_still_read_and_a_write_gives_up(tmp_path: Path) -> None:
    """A lookup waits for no lock at all: it is answered while another process is in the middle of a write."""
    async with aclosing(file_cache(tmp_path)) as cache:
        await cache.put(("a",), b"1", owner="ada", lifetime=DAY)
        with beside_it(tmp_path) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM entries")
            assert await cache.get(("a",))
            assert not await cache.put(("b",), b"1", owner="ada", lifetime=DAY)
            assert await cache.get(("a",))
        assert cache.failures == {Reason.LOCKED: 1}
        assert await cache.put(("b",), b"1", owner="ada", lifetime=DAY)


async def test_a_folder_that_cannot_be_is_no_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing raises, it is logged once however often it happens, and a deletion says that it failed."""
    (tmp_path / "file").touch()
    async with aclosing(file_cache(tmp_path / "file" / "folder")) as cache:
        await cache.prepare()
        assert not await cache.put(("a",), b"1", owner="ada", lifetime=DAY)
        assert await cache.get(("a",)) is None
        assert await cache.forget_all_but(pages()) == 0
        assert not await cache.delete(("a",))
    assert len(caplog.records) == 1
    assert cache.failures == {Reason.UNREACHABLE: 2}


# --- Redis


async def test_an_unreachable_redis_is_no_cache() -> None:
    """Port 9 of this machine: refused at once, and its password in no message."""
    backend = RedisServer("redis://user:hunter2@127.0.0.1:9", "test", WIDE)
    with pytest.raises(CacheUnavailable) as raised:
        await backend.get("a")
    assert (raised.value.reason, "hunter2" in str(raised.value)) == (Reason.UNREACHABLE, False)
    async with aclosing(Cache(backend, deadline=0.2)) as cache:
        assert await cache.get(("a",)) is None
        assert await cache.forget_all_but(pages()) == 0


async def test_a_redis_that_never_answers_costs_one_deadline_and_not_one_each_lookup() -> None:
    """It accepts and stays silent; after the first lookup nobody waits for it for a while."""
    accepted = 0

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aclosing(Cache(RedisServer(f"redis://127.0.0.1:{port}", "test", WIDE), deadline=0.05)) as cache:
        assert [await cache.get(("a",)) for _ in range(20)] == [None] * 20
        assert not await cache.put(("a",), b"1", owner="ada", lifetime=DAY)
        assert (cache.failures, accepted) == ({Reason.LATE: 1}, 1)


async def test_a_server_that_is_no_redis_is_no_cache() -> None:
    """It answers, with something else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aclosing(Cache(RedisServer(f"redis://127.0.0.1:{port}", "test", WIDE), deadline=1)) as cache:
        assert await cache.get(("a",)) is None
        assert cache.failures.total() == 1


@pytest.mark.parametrize("rest", ["localhost:99999", "localhost?socket_timeout=hunter2", "localhost?hunter2=1"])
def test_a_url_of_which_no_connection_can_be_made_is_a_wrong_setting(rest: str) -> None:
    """Said when the process starts, without the URL, and not in a session."""
    with pytest.raises(
        SettingsError, match=r"^FIRSTWORD_CACHE_URL is wrong \(a secret, not shown\); it may be: `redis:"
    ):
        open_cache("test", WIDE, url=f"redis://{rest}", folder=None, deadline=1, key="")


def test_without_the_package_redis_a_url_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    monkeypatch.setitem(sys.modules, "agent.caches.redis", None)
    with pytest.raises(
        SettingsError, match=r"^FIRSTWORD_CACHE_URL needs the package redis: install firstword\[redis\]$"
    ):
        open_cache("test", WIDE, url="redis://localhost", folder=None, deadline=1, key="")


@pytest.mark.real
async def test_an_owner_deleted_in_redis_leaves_no_key_of_it_behind(redis_url: str, tmp_path: Path) -> None:
    """But the mark that it is deleted, which expires."""
    from redis.asyncio import Redis

    client: Any = cast(Any, Redis).from_url(redis_url)
    async with aclosing(RedisServer(redis_url, tmp_path.name, WIDE)) as backend, client:
        await backend.put("a", b"1", "ada", DAY)
        await backend.delete_owner("ada")
        keys = sorted([key.decode() async for key in client.scan_iter(f"*{tmp_path.name}*")])
        assert [key.partition("}:")[2] for key in keys] == ["gone:ada", "sizes"]
        assert 0 < await client.ttl(keys[0]) <= 300
