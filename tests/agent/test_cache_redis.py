"""firstword.agent.cache.redis: a server that is away, silent or no Redis costs no session anything, and a wrong URL is said at once."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from firstword.agent.cache.backend import Bounds, CacheFailure, CacheUnavailable
from firstword.agent.cache.cache import Cache
from firstword.agent.cache.redis import RedisServer
from firstword.agent.flags.improvements import profile
from firstword.agent.process.caches import opened_caches
from firstword.agent.settings import SettingsError
from tests.agent.caches import DAY, WIDE, pages
from tests.agent.providers import made
from tests.redis import redis_url as redis_url


async def test_an_unreachable_redis_is_no_cache() -> None:
    """Port 9 of this machine: refused at once, and its password in no message."""
    backend = RedisServer("redis://user:hunter2@127.0.0.1:9", "test", WIDE)
    with pytest.raises(CacheUnavailable) as raised:
        await backend.get("a")
    assert (raised.value.reason, "hunter2" in str(raised.value)) == (CacheFailure.UNREACHABLE, False)
    async with aclosing(Cache(backend, deadline=60)) as cache:
        assert await cache.get(("a",)) is None
        assert await cache.forget_all_but(pages()) is None


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
        assert (cache.failures, accepted) == ({CacheFailure.LATE: 1}, 1)


async def test_a_server_that_is_no_redis_is_no_cache() -> None:
    """It answers, with something else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aclosing(Cache(RedisServer(f"redis://127.0.0.1:{port}", "test", WIDE), deadline=60)) as cache:
        assert await cache.get(("a",)) is None
        assert cache.failures.total() == 1


@pytest.mark.parametrize("rest", ["localhost:99999", "localhost?socket_timeout=hunter2", "localhost?hunter2=1"])
def test_a_url_of_which_no_connection_can_be_made_is_a_wrong_setting(rest: str, tmp_path: Path) -> None:
    """Said when the process starts, without the URL, and not in a session."""
    settings = made(tmp_path, cache_url=SecretStr(f"redis://{rest}"))
    with pytest.raises(SettingsError, match=r"^FIRSTWORD_CACHE_URL is wrong \(a secret, not shown\); expected `redis:"):
        opened_caches(settings, profile("tuned"))


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


async def test_an_owners_set_holds_no_more_than_its_entries(tmp_path: Path, redis_url: str) -> None:
    """Entries that the bounds drive out, that are deleted and that expire leave it: it grows no further than they do."""
    async with aclosing(RedisServer(redis_url, tmp_path.name, Bounds(bytes=10_000, entries=5))) as backend:
        for number in range(50):
            await backend.put(f"key {number}", b"1", "", 0.01 if number < 10 else DAY)
        await backend.delete("key 49")
        sizes = {
            key.decode().rpartition(":")[2]: await backend._client.execute_command("SCARD", key)  # pyright: ignore[reportPrivateUsage]
            async for key in backend._client.scan_iter(match=f"*{tmp_path.name}*owner:*")  # pyright: ignore[reportPrivateUsage]
        }
        assert sizes == {"": 4}
