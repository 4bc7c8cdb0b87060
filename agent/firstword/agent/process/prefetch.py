"""What is made before the worker takes its first job, and kept fresh while it runs: common accounts, and their greetings.

In the worker's own process, so that no caller's process competes with it. The first caller of a new worker is answered as
fast as the hundredth: what they hear has been spoken before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from livekit.agents import APIError, utils

from firstword.agent.accounts.account_cache import FRESH, AccountCache
from firstword.agent.accounts.model import GENERIC
from firstword.agent.accounts.store import AccountStore, StoreError
from firstword.agent.audio.refusals import Refusals
from firstword.agent.audio.synthesis import synthesis
from firstword.agent.flags.assignment import possible_for_a_process
from firstword.agent.flags.improvements import Flags, Improvement
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.audio_cache import AudioCache
from firstword.agent.greeting.text import greeting_text
from firstword.agent.process import run_folder
from firstword.agent.process.caches import opened_caches
from firstword.agent.settings import Settings

logger = logging.getLogger("firstword")

COMMON = 50
"""Accounts that are read, and greeted in advance."""
AT_ONCE = 4
"""Greetings that are spoken at the same time: waiting for the TTS is most of a round."""
FORGET_EVERY = 20
"""Rounds, ten minutes: each time every account's id is read, of which a store may have many."""
FIRST_ROUND_S = 20.0
"""What a worker waits for at most before it takes jobs."""


async def make(settings: Settings) -> int:
    """One round; returns how many pieces were spoken. Raises StoreError; a provider that is down is a warning.

    For every flag that some process may have: the others don't read these caches, so that their sessions don't profit.
    """
    flags = await asyncio.to_thread(possible_for_a_process, settings)  # a flag source that is away is waited for
    if not {Improvement.ACCOUNT_CACHE, Improvement.SMART_GREETING} & flags.on:
        return 0
    caches = opened_caches(settings, flags)
    store = await AccountStore.open(settings.store_url.get_secret_value())
    spoken = None
    try:
        common = await store.common(COMMON)
        async with utils.http_context.open(), asyncio.TaskGroup() as both:
            if caches.accounts is not None:
                accounts = AccountCache(store, caches.accounts, patience=settings.account_deadline)
                both.create_task(_preload(accounts, common))
            if caches.speeches is not None:
                speaking = _Speaking(store, AudioCache(caches.speeches, days=settings.cache_days), settings)
                spoken = both.create_task(speaking.all_of([GENERIC.id, *common]))
    except* StoreError as errors:
        raise errors.exceptions[0] from None
    finally:
        await store.aclose()
        await caches.aclose()
    return 0 if spoken is None else spoken.result()


async def _preload(accounts: AccountCache, common: Sequence[str]) -> None:
    await accounts.preload(common)
    await accounts.aclose()


class _Speaking:
    """The greetings of one round."""

    def __init__(self, store: AccountStore, audio: AudioCache, settings: Settings) -> None:
        self._store = store
        self._audio = audio
        self._settings = settings
        self._refusals = Refusals(run_folder.find())
        self._spoken = 0
        self._failures: list[APIError] = []
        self._unanswered = 0
        """Failures in a row that were no answer to what was asked: the provider's own, which the plugin tried again."""

    async def all_of(self, accounts: Iterable[str]) -> int:
        """How many pieces were spoken. Raises StoreError."""
        left = iter(accounts)
        try:
            async with asyncio.TaskGroup() as speakers:
                for _ in range(AT_ONCE):
                    speakers.create_task(self._speak(left))
        except* APIError:
            pass  # the provider is down: counted like one that refuses an account
        except* StoreError as errors:
            raise errors.exceptions[0] from None
        if self._failures:
            reason = type(self._failures[-1]).__name__
            logger.warning("greetings that could not be made ahead: %d, the last for %s", len(self._failures), reason)
        return self._spoken

    async def _speak(self, left: Iterator[str]) -> None:
        speaker = synthesis(self._settings, self._refusals)
        try:
            for id in left:
                account = await self._store.greeting_fields(id) or GENERIC
                speaker.speak_as(account.voice or self._settings.tts_voice)
                now = time.time()
                # the next part of the day may begin before the next round
                due = dict.fromkeys(greeting_text(account, instant) for instant in (now, now + FRESH))
                try:
                    spoken = sum(
                        [await greetings.make_ahead(each, account, speaker, speaker.voice, self._audio) for each in due]
                    )
                except APIError as error:
                    self._failed(error)
                else:
                    self._spoken += spoken
                    self._unanswered = 0 if spoken else self._unanswered
        finally:
            await speaker.aclose()

    def _failed(self, error: APIError) -> None:
        """Go on with the next account, unless all speakers got no answer: each would wait for seconds, and jobs with them."""
        self._failures.append(error)
        self._unanswered += error.retryable
        if self._unanswered >= AT_ONCE:
            raise error


async def forget_the_gone(settings: Settings) -> int:
    """Delete what is cached of accounts that the store no longer has; of how many, each cache counted. Raises StoreError."""
    caches = opened_caches(settings, Flags(frozenset(Improvement)))  # what was kept before a flag was turned off too
    store = AccountStore(settings.store_url.get_secret_value())
    try:
        return sum([await cache.forget_all_but(store.ids()) for cache in (caches.accounts, caches.speeches) if cache])
    finally:
        await store.aclose()
        await caches.aclose()


async def keep_fresh(settings: Settings) -> None:
    """Round after round, until cancelled: accounts change or go, the morning becomes the afternoon."""
    for number in count():
        await asyncio.sleep(FRESH / 2)
        try:
            await make(settings)
            if number % FORGET_EVERY == 0:
                await forget_the_gone(settings)
        except (StoreError, OSError) as error:
            logger.warning("accounts and greetings are not kept fresh: %s", type(error).__name__)
        except Exception:  # the worker takes jobs beside this, and shall go on
            logger.exception("accounts and greetings are not kept fresh")


async def first_round(settings: Settings) -> None:
    """The round before the first job; one that fails or takes long delays nobody further."""
    try:
        async with asyncio.timeout(FIRST_ROUND_S):
            spoken = await make(settings)
    except (StoreError, OSError, TimeoutError) as error:
        logger.warning("not everything could be made ahead: %s", type(error).__name__)
    except Exception:
        logger.exception("not everything could be made ahead")
    else:
        logger.info("made ahead: %d pieces of speech", spoken)
