"""firstword.agent.cache.sqlite: processes share one file, what is deleted is gone from it, and no damage to it reaches a session."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from firstword.agent.cache.backend import CacheFailure
from firstword.agent.cache.sqlite import SQLiteFile
from tests.agent.caches import BYTES, DAY, WIDE, beside_it, file_cache, kept, newest, on_disk, pages


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that has `cache`, a cache in the folder of its first argument, and `folder`."""
    program = f"""
import asyncio, sys
from pathlib import Path
from firstword.agent.cache.backend import Bounds
from firstword.agent.cache.cache import Cache
from firstword.agent.cache.sqlite import SQLiteFile
folder = Path(sys.argv[1])
cache = Cache(SQLiteFile(folder, "test", Bounds(10_000_000, 1000)), deadline=60.0)
async def main():
{code}
    await cache.aclose()
asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


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
    while not stop.done() or rounds < 4:
        number = str(rounds % 7)
        await cache.put((number,), number.encode() * 50_000, owner=number, lifetime=1000)
        await asyncio.sleep(0)
        for other in "0123456":
            found = await cache.get((other,))
            assert found is None or found.value == other.encode() * 50_000
        rounds += 1
    print("read all")
"""
    processes = [run(code, tmp_path) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for damage in ("overwrite", "cut", "empty", "delete", "overwrite"):
        time.sleep(0.4)
        while not any(tmp_path.glob("*.db")):  # on a busy machine it takes a while until there is a new one
            assert all(process.poll() is None for process in processes)
            time.sleep(0.05)
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
    assert [output(process) for process in processes] == ["read all"] * 4
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
        assert cache.failures == {CacheFailure.LOCKED: 1}
        assert await cache.put(("b",), b"1", owner="ada", lifetime=DAY)


async def test_a_deletion_past_a_lock_keeps_nothing_of_the_owner_either(tmp_path: Path) -> None:
    """It takes all files; who was about to write something of the owner's into the new one is refused all the same."""
    async with aclosing(file_cache(tmp_path)) as cache:
        await cache.put(("a",), b"1", owner="ada", lifetime=DAY)
        with beside_it(tmp_path) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM entries")
            assert await cache.forget("ada")
        assert await cache.get(("a",)) is None
        assert not await cache.put(("a",), b"2", owner="ada", lifetime=DAY)
        assert await cache.put(("b",), b"2", owner="grace", lifetime=DAY)


async def test_a_folder_that_cannot_be_is_no_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing raises, it is logged once however often it happens, and a deletion says that it failed."""
    (tmp_path / "file").touch()
    async with aclosing(file_cache(tmp_path / "file" / "folder")) as cache:
        await cache.prepare()
        assert not await cache.put(("a",), b"1", owner="ada", lifetime=DAY)
        assert await cache.get(("a",)) is None
        assert await cache.forget_all_but(pages()) is None
        assert not await cache.delete(("a",))
    assert len(caplog.records) == 1
    assert cache.failures == {CacheFailure.UNREACHABLE: 3}


@pytest.mark.parametrize(
    "name",
    ["test.1-1.sync-conflict-20261129-ABC.db", "test.1-1.old.db", "test.1-.db", "test.1-01.db", "test.1-\u0661.db"],
)
async def test_a_file_of_another_name_is_none_of_ours(name: str, tmp_path: Path) -> None:
    """A backup, what a synchronised folder leaves: nothing fails, and it stays as it is."""
    (tmp_path / name).write_text("somebody's")
    async with aclosing(file_cache(tmp_path)) as cache:
        await cache.prepare()
        assert await cache.put(("a",), b"1", owner="ada", lifetime=DAY)
        assert await cache.get(("a",))
        assert await cache.forget_all_but(pages()) == 1
    assert not cache.failures
    assert (tmp_path / name).read_text() == "somebody's"


async def test_a_log_that_was_left_alone_is_deleted(tmp_path: Path) -> None:
    """Whoever was killed between deleting the file and its log left personal bytes behind."""
    (tmp_path / "test.1-1.db-wal").write_bytes(b"Ada Whitfield")
    async with aclosing(file_cache(tmp_path)) as cache:
        await cache.prepare()
    assert b"Ada Whitfield" not in on_disk(tmp_path)


async def test_a_log_that_somebody_reads_goes_with_its_file(tmp_path: Path) -> None:
    """A reader that hangs keeps the log from being emptied: then the file is replaced, and the bytes are gone."""
    async with aclosing(file_cache(tmp_path)) as cache:
        await cache.put(("a",), b"Ada Whitfield" * 1000, owner="ada", lifetime=DAY)
        with beside_it(tmp_path) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM entries").fetchone()
            assert await cache.forget_all_but(pages(["bob"])) == 1
            assert b"Ada Whitfield" not in on_disk(tmp_path)


async def test_values_that_are_swapped_are_nobodys(tmp_path: Path) -> None:
    """Who can write to the cache cannot give one account's entry to another."""
    async with aclosing(file_cache(tmp_path)) as cache:
        for name in ("ada", "bob"):
            await cache.put((name,), name.encode(), owner=name, lifetime=DAY)
        with beside_it(tmp_path) as other:
            (one, two) = other.execute("SELECT key FROM entries").fetchall()
            for old, new in ((one, ("x",)), (two, one), (("x",), two)):
                other.execute("UPDATE entries SET key = ? WHERE key = ?", (*new, *old))
        assert [await cache.get((name,)) for name in ("ada", "bob")] == [None, None]
    assert cache.failures == {CacheFailure.BROKEN: 2}
