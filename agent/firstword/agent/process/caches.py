"""The caches that a worker uses, by its settings and flags; new objects at each call, since one belongs to one event loop."""

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
    """The two caches of a process: accounts and audio, so that audio can't push accounts out. Each is None where its flag is off."""

    accounts: Cache | None
    speeches: Cache | None

    async def prepare(self) -> None:
        """Make what they are kept in, where it isn't there."""
        for cache in (self.accounts, self.speeches):
            if cache is not None:
                await cache.prepare()

    async def aclose(self) -> None:
        """Close both."""
        for cache in (self.accounts, self.speeches):
            if cache is not None:
                await cache.aclose()


def opened_caches(settings: Settings, flags: Flags) -> Caches:
    """The caches; nothing is opened before the first use. Raises SettingsError for a URL that is none."""
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
