"""Deletes cached data of accounts that the store no longer has. That is a duty, so it depends on nothing else's
success.

Runs beside `firstword.agent.process.prefetch` in the worker's own process, on a schedule of its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from firstword.agent.accounts.account_store import AccountStore, StoreError
from firstword.agent.cache.cache import Cache
from firstword.agent.failures import BackOff, Failing
from firstword.agent.flags.improvements import Flags, Improvement
from firstword.agent.parts import WorkerParts
from firstword.agent.process.caches import opened_caches
from firstword.agent.settings import Settings

logger = logging.getLogger("firstword")

FIRST_S: Final = 30.0
"""Seconds from the worker's start to the first deletion, and of the first pause after a failure."""
EVERY_S: Final = 600.0
"""Seconds between two deletions. Each deletion reads the ids of all accounts, and a store may have many."""


async def keep_deleting(settings: Settings) -> None:
    """Deletes cached data of deleted accounts every `EVERY_S` seconds, until cancelled. After a failure it tries again
    sooner.
    """
    failing, back_off = Failing("deletion"), BackOff(FIRST_S, EVERY_S)
    pause = FIRST_S
    while True:
        await asyncio.sleep(pause)
        reason = await forget_the_gone(settings)
        if reason is None:
            failing.works()
            back_off.worked()
            pause = EVERY_S
        else:
            failing.failed(reason, f"what is cached of deleted accounts could not all be deleted: {reason}")
            pause = back_off.failed()


async def forget_the_gone(settings: Settings) -> str | None:
    """Deletes from each cache the data of accounts that the store no longer has.

    Returns None if all was deleted; else a word for what failed last. If one cache fails, the other is still cleaned.
    """
    caches = opened_caches(settings, Flags(frozenset(Improvement)))  # what was kept before a flag was turned off too
    store = WorkerParts(settings).store()
    try:
        reasons = [await _forget(cache, store) for cache in (caches.accounts, caches.speeches) if cache is not None]
    finally:
        await store.aclose()
        await caches.aclose()
    return next((reason for reason in reversed(reasons) if reason is not None), None)


async def _forget(cache: Cache, store: AccountStore) -> str | None:
    try:
        deleted = await cache.forget_all_but(store.ids())
    except StoreError as error:
        return f"store {error.reason}"
    except Exception as error:  # whatever it is, the other cache has its turn, and this one again
        return type(error).__name__
    if deleted:
        logger.info("what was cached of %d deleted accounts is deleted", deleted)
    return "cache" if deleted is None else None
