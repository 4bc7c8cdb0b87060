"""Keeps a cache in Redis: what one machine read or made is there for all of them.

Behind `Cache`, which sets the deadlines. Values expire by Redis's own clock. Scripts keep the bounds: an entry is
written, and others are deleted for it, in one step. A server's `maxmemory` may be tighter; that does no harm.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, OutOfMemoryError, RedisError, ResponseError

from firstword.agent.cache.backend import GONE_FOR, Bounds, CacheEntry, CacheFailure, CacheUnavailable

_FORMAT: Final = "firstword:1"
"""Before every key; the number changes with the format of what is kept."""

# Every key has the same hash tag, so that a cluster keeps them on one node and a script may touch them all.
# ages: key -> when it expires, ms; sizes: key -> bytes, and their sum under ""; owners: key -> whose it is.
_PRELUDE: Final = """
local prefix = ARGV[1]
local ages, sizes, owners = prefix .. 'ages', prefix .. 'sizes', prefix .. 'owners'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function drop(key)
    redis.call('DEL', prefix .. 'value:' .. key)
    redis.call('ZREM', ages, key)
    local owner = redis.call('HGET', owners, key)
    if owner then
        redis.call('HDEL', owners, key)
        redis.call('SREM', prefix .. 'owner:' .. owner, key)
    end
    local size = redis.call('HGET', sizes, key)
    if size then
        redis.call('HDEL', sizes, key)
        redis.call('HINCRBY', sizes, '', -size)
    end
end
local function drop_expired()
    for _, key in ipairs(redis.call('ZRANGEBYSCORE', ages, '-inf', now)) do drop(key) end
end
"""
_PUT: Final = f"""{_PRELUDE}
local key, value, owner, lifetime = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local most_bytes, most_entries = tonumber(ARGV[6]), tonumber(ARGV[7])
if redis.call('EXISTS', prefix .. 'gone:' .. owner) == 1 then return 0 end
drop(key)
drop_expired()
while redis.call('ZCARD', ages) >= most_entries
    or tonumber(redis.call('HGET', sizes, '') or 0) + #value > most_bytes do
    local first = redis.call('ZRANGE', ages, 0, 0)[1]
    if not first then break end
    drop(first)
end
redis.call('SET', prefix .. 'value:' .. key, value, 'PX', lifetime)
redis.call('ZADD', ages, now + lifetime, key)
redis.call('HSET', sizes, key, #value)
redis.call('HINCRBY', sizes, '', #value)
redis.call('HSET', owners, key, owner)
local owned = prefix .. 'owner:' .. owner
redis.call('SADD', owned, key)
redis.call('PEXPIRE', owned, math.max(lifetime, redis.call('PTTL', owned)))
return 1
"""
_DELETE: Final = f"""{_PRELUDE}
drop(ARGV[2])
drop_expired()
"""
_DELETE_OWNER: Final = f"""{_PRELUDE}
local owned = prefix .. 'owner:' .. ARGV[2]
for _, key in ipairs(redis.call('SMEMBERS', owned)) do drop(key) end
redis.call('DEL', owned)
redis.call('SET', prefix .. 'gone:' .. ARGV[2], '', 'PX', ARGV[3])
drop_expired()
"""


class RedisServer:
    """A cache backend on a Redis server of version 6 or newer, at a redis:// or rediss:// URL that may end in a
    database's number.
    """

    def __init__(self, url: str, name: str, bounds: Bounds) -> None:
        """Takes the URL; connects with the first command. Raises ValueError or TypeError for a URL that no connection
        can be made of.
        """
        self._bounds = bounds
        self._prefix = f"{{{_FORMAT}:{name}}}:"
        # One more try, at once: the server may have closed an idle connection. The deadline is the caller's.
        self._client = cast(Any, Redis).from_url(url, retry=Retry(NoBackoff(), 1), socket_timeout=None)
        self._client.connection_pool.make_connection()  # a wrong option in the URL would else be found in a session
        self._put = self._client.register_script(_PUT)
        self._delete = self._client.register_script(_DELETE)
        self._delete_owner = self._client.register_script(_DELETE_OWNER)

    async def prepare(self) -> None:
        """Opens a connection to the server. Raises CacheUnavailable."""
        with _our_errors():
            await self._client.ping()

    async def get(self, key: str) -> CacheEntry | None:
        """Returns the entry of the key in one round trip, or None if there is none or it has expired. Raises
        CacheUnavailable.
        """
        name = f"{self._prefix}value:{key}"
        with _our_errors():
            async with self._client.pipeline(transaction=False) as pipeline:
                value, milliseconds = await pipeline.get(name).pttl(name).execute()
        return None if value is None else CacheEntry(value, max(milliseconds, 0) / 1000)

    async def put(self, key: str, value: bytes, owner: str, lifetime: float) -> bool:
        """Keeps the value. Returns False if it alone is over the bounds, or its owner was deleted. Raises
        CacheUnavailable.
        """
        if len(value) > self._bounds.bytes:
            return False
        bounds = self._bounds.bytes, self._bounds.entries
        with _our_errors():
            return bool(await self._put(args=[self._prefix, key, value, owner, _milliseconds(lifetime), *bounds]))

    async def delete(self, key: str) -> None:
        """Delete the entry, if there is one. Raises CacheUnavailable."""
        with _our_errors():
            await self._delete(args=[self._prefix, key])

    async def owners(self) -> set[str]:
        """Returns the owners that the cache has entries of. It scans all keys of the server. Raises CacheUnavailable."""
        start = f"{self._prefix}owner:"
        with _our_errors():
            keys = [key async for key in self._client.scan_iter(match=f"{start}*", count=1000)]
        return {key.decode().removeprefix(start) for key in keys}

    async def delete_owner(self, owner: str) -> None:
        """Deletes all entries of the owner, and keeps none of theirs for `GONE_FOR` seconds. Raises CacheUnavailable."""
        with _our_errors():
            await self._delete_owner(args=[self._prefix, owner, _milliseconds(GONE_FOR)])

    async def aclose(self) -> None:
        """Closes the connections to the server. Raises CacheUnavailable."""
        with _our_errors():
            await self._client.aclose()


def _milliseconds(seconds: float) -> int:
    return max(round(seconds * 1000), 1)


@contextmanager
def _our_errors() -> Generator[None]:
    """Turn what the client raises into CacheUnavailable; `from None`, as its texts may quote a URL or a command."""
    try:
        yield
    except OutOfMemoryError:
        raise CacheUnavailable(CacheFailure.FULL, "maxmemory") from None
    except (AuthenticationError, ResponseError) as error:
        raise CacheUnavailable(CacheFailure.BROKEN, type(error).__name__) from None
    except (RedisError, OSError) as error:
        raise CacheUnavailable(CacheFailure.UNREACHABLE, type(error).__name__) from None
