"""Opens the caches that a worker uses, by its settings and flags. Each call makes new objects, since one belongs to one
event loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from firstword.agent.accounts import account_cache
from firstword.agent.cache.backend import Bounds
from firstword.agent.cache.cache import Cache, CacheURLError, open_cache
from firstword.agent.flags.improvements import Flags, Improvement
from firstword.agent.greeting import audio_cache
from firstword.agent.settings import Settings, SettingsError, may_be, variable


@dataclass(frozen=True)
class Caches:
    """The caches of a process: one for accounts and one for audio, so that audio can't push accounts out. Each is None
    if its flag is off.
    """

    accounts: Cache | None
    speeches: Cache | None

    async def prepare(self) -> None:
        """Prepares both caches: makes their files if they do not exist, or connects to Redis."""
        for cache in (self.accounts, self.speeches):
            if cache is not None:
                await cache.prepare()

    async def aclose(self) -> None:
        """Closes both caches."""
        for cache in (self.accounts, self.speeches):
            if cache is not None:
                await cache.aclose()


def opened_caches(settings: Settings, flags: Flags) -> Caches:
    """Returns the caches that the flags want. Nothing is opened before the first use. Raises SettingsError for a wrong
    cache URL.
    """
    url = settings.cache_url.get_secret_value() if settings.cache_url else None
    key = settings.account_key.get_secret_value() if settings.account_key else ""

    def opened(name: str, bounds: Bounds) -> Cache:
        return open_cache(name, bounds, url=url, folder=None, deadline=settings.cache_deadline, key=key)

    try:
        return Caches(
            accounts=opened("accounts", account_cache.BOUNDS) if Improvement.ACCOUNT_CACHE in flags else None,
            speeches=opened("audio", audio_cache.BOUNDS) if Improvement.SMART_GREETING in flags else None,
        )
    except CacheURLError:
        what = f"{variable('cache_url')} is wrong (a secret, not shown)"
        raise SettingsError([f"{what}; expected {may_be('cache_url')}"]) from None
