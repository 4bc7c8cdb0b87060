"""What is made before the worker takes its first job, and kept fresh while it runs: common accounts, and their greetings.

In the worker's own process, so that no caller's process competes with it. The first caller of a new worker is answered as
fast as the hundredth: what they hear has been spoken before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

from livekit.agents import APIError, utils

from agent import components as parts
from agent import greeting as greetings
from agent.accounts.model import GENERIC
from agent.accounts.store import AccountStore, StoreError
from agent.caches.accounts import FRESH, AccountCache
from agent.caches.audio import AudioCache
from agent.caches.open import opened_caches
from agent.flags import Flags, Improvement
from agent.greeting_text import greeting_text
from agent.settings import Settings

logger = logging.getLogger("firstword")

COMMON = 50
"""Accounts that are read, and greeted in advance."""
AT_ONCE = 4
"""Greetings that are spoken at the same time: waiting for the TTS is most of a round."""
FIRST_ROUND_S = 20.0
"""What a worker waits for at most before it takes jobs."""


async def make(settings: Settings, flags: Flags) -> int:
    """One round; returns how many greetings were spoken. Raises StoreError; a provider that is down is a warning."""
    caches = opened_caches(settings, flags)
    store = await AccountStore.open(settings.store_url.get_secret_value())
    try:
        async with utils.http_context.open():
            if caches.accounts is not None:
                accounts = AccountCache(store, caches.accounts, patience=settings.account_deadline)
                await accounts.preload(COMMON)
                await accounts.aclose()
            if caches.speeches is None:
                return 0
            return await _speak(store, AudioCache(caches.speeches, days=settings.cache_days), settings)
    finally:
        await store.aclose()
        await caches.aclose()


async def _speak(store: AccountStore, audio: AudioCache, settings: Settings) -> int:
    left = iter([GENERIC.id, *await store.common(COMMON)])
    spoken: list[int] = []

    async def speak() -> None:
        components = parts.build(settings)
        try:
            for id in left:
                account = await store.greeting_fields(id) or GENERIC
                voice = account.voice or settings.tts_voice
                components.fit(replace(account, voice=voice))  # else an account without one has the last one's
                written = greeting_text(account, time.time())
                spoken.append(await greetings.make_ahead(written, account, components, voice, audio))
        finally:
            await components.aclose()

    try:
        async with asyncio.TaskGroup() as speakers:
            for _ in range(AT_ONCE):
                speakers.create_task(speak())
    except* APIError as errors:
        logger.warning("no greeting could be made ahead: %s", type(errors.exceptions[0]).__name__)
    except* StoreError as errors:
        raise errors.exceptions[0] from None
    return sum(spoken)


async def keep_fresh(settings: Settings, flags: Flags) -> None:
    """Round after round, until cancelled: accounts change, the morning becomes the afternoon."""
    while True:
        await asyncio.sleep(FRESH / 2)
        try:
            await make(settings, flags)
        except (StoreError, OSError) as error:
            logger.warning("accounts and greetings are not kept fresh: %s", type(error).__name__)


async def first_round(settings: Settings, flags: Flags) -> None:
    """The round before the first job; one that fails or takes long delays nobody further."""
    if not {Improvement.ACCOUNT_CACHE, Improvement.SMART_GREETING} & flags.on:
        return
    try:
        async with asyncio.timeout(FIRST_ROUND_S):
            spoken = await make(settings, flags)
    except (StoreError, OSError, TimeoutError) as error:
        logger.warning("not everything could be made ahead: %s", type(error).__name__)
    else:
        logger.info("made ahead: %d pieces of speech", spoken)
