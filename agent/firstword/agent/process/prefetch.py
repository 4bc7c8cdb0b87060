"""Reads common accounts and synthesises their greetings before the worker takes its first job, and keeps them fresh
while it runs.

In the worker's own process, so that no caller's process competes with it. The first caller of a new worker is answered
as fast as the hundredth: what they hear has been spoken before. Nothing is read or spoken that could not be kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator, Sequence
from functools import cache
from typing import Any, Final

from livekit.agents import APIError, utils

from firstword.agent.accounts.account_cache import FRESH, AccountCache
from firstword.agent.accounts.account_store import AccountStore, StoreError
from firstword.agent.accounts.model import GENERIC
from firstword.agent.cache.cache import Cache
from firstword.agent.failures import BackOff, Failing
from firstword.agent.flags.assignment import possible_for_a_process
from firstword.agent.flags.improvements import Flags
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.audio_cache import AudioCache
from firstword.agent.greeting.greeting import NotKept
from firstword.agent.greeting.text import greeting_text
from firstword.agent.parts import WorkerParts
from firstword.agent.process.caches import Caches, opened_caches
from firstword.agent.settings import Settings
from firstword.agent.together import together

logger = logging.getLogger("firstword")

AT_ONCE: Final = 4
"""Greetings that are synthesised at the same time: waiting for the TTS is most of a round."""
FIRST_ROUND_S: Final = 20.0
"""Seconds that a worker waits at most for the first round before it takes jobs."""
ROUND_S: Final = 300.0
"""Seconds that a later round may take; the next one goes on where it was cut off."""
LONGEST_PAUSE_S: Final = 900.0
"""Seconds of the longest pause after failures, of a round or of the greetings in it."""
LONGEST_REFUSAL_S: Final = 3_600.0
"""Seconds of the longest pause after failures of one account's greeting."""

_Piece = tuple[str, str, str]
"""A greeting that may be refused again and again: account's id, voice, text."""


class Prefetch:
    """Fills the caches with common accounts and their greetings, in rounds. It belongs to the worker's event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._caches: tuple[Flags, Caches] | None = None
        self._failing = Failing("prefetch")
        self._round = BackOff(FRESH / 2, LONGEST_PAUSE_S)
        self._accounts = BackOff(FRESH / 2, LONGEST_PAUSE_S)
        self._parts = WorkerParts(settings)
        self._speaking = _Speaking(self._parts)

    async def first_round(self) -> None:
        """Makes what the first jobs need. Returns after a bounded time, also if it failed; then jobs do without."""
        spoken = await self._try(FIRST_ROUND_S)
        if spoken is not None:
            logger.info("made ahead: %d pieces of speech", spoken)

    async def keep_fresh(self) -> None:
        """Repeats the round until cancelled: accounts change, and the morning becomes the afternoon."""
        while True:
            await asyncio.sleep(FRESH / 2)
            if self._round.due:
                await self._try(ROUND_S)

    async def make(self) -> int:
        """Performs one round: caches common accounts, and the audio that is missing of their greetings. Returns how
        many pieces of speech it synthesised.

        Common are the accounts that `AccountStore.common` returns. Raises StoreError; a provider or a cache that is
        down is only logged. It serves every flag that some process may have on. Processes that have them off don't read
        these caches, so that their sessions don't profit.
        """
        flags = await asyncio.to_thread(
            possible_for_a_process, self._settings
        )  # a flag source that is away is waited for
        caches = await self._opened(flags)
        accounts = caches.accounts if await _keeps(caches.accounts, self._accounts) else None
        speeches = caches.speeches if await _keeps(caches.speeches, self._speaking.back_off) else None
        if accounts is None and speeches is None:
            return 0
        store, making = self._parts.store(), list[Coroutine[Any, Any, int | None]]()
        try:
            await store.prepare()
            common = await store.common(self._settings.prefetch_accounts)
            if accounts is not None:
                making.append(_preload(AccountCache(store, accounts, patience=self._settings.account_deadline), common))
            if speeches is not None:
                audio = AudioCache(speeches, days=self._settings.cache_days)
                making.append(self._speaking.all_of([GENERIC.id, *common], store, audio))
            async with utils.http_context.open():
                return sum(filter(None, await together(*making)))
        finally:
            await store.aclose()

    async def aclose(self) -> None:
        """Closes the caches."""
        if self._caches is not None:
            await self._caches[1].aclose()

    async def _opened(self, flags: Flags) -> Caches:
        """The caches of these flags: those of the last round, unless the flags have changed."""
        if self._caches is None or self._caches[0] != flags:
            await self.aclose()
            self._caches = flags, opened_caches(self._settings, flags)
        return self._caches[1]

    async def _try(self, seconds: float) -> int | None:
        """One round within so many seconds; None when it failed, which puts the next one off."""
        try:
            async with asyncio.timeout(seconds):
                spoken = await self.make()
        except (StoreError, OSError) as error:  # TimeoutError is one of these
            reason = type(error).__name__
            self._failing.failed(reason, f"accounts and greetings are not kept fresh: {error or reason}")
        except Exception as error:  # the worker takes jobs beside this, and shall go on
            self._failing.failed(type(error).__name__, "accounts and greetings are not kept fresh", unexpected=True)
        else:
            self._failing.works()
            self._round.worked()
            return spoken
        self._round.failed()
        return None


async def _keeps(cache: Cache | None, back_off: BackOff) -> bool:
    """Whether it is worth making something for this cache now."""
    if cache is None or not back_off.due:
        return False
    if await cache.keeps():
        return True
    back_off.failed()
    return False


async def _preload(accounts: AccountCache, common: Sequence[str]) -> None:
    await accounts.preload(common)
    await accounts.aclose()


@cache
def _say_no_key() -> None:
    logger.warning(
        "no greeting is cached or made ahead: nobody can tell whose voice the engine has; expected a `voice_key` in FIRSTWORD_PARTS"
    )


class _Speaking:
    """What is known of the voice from one round to the next."""

    def __init__(self, parts: WorkerParts) -> None:
        self.back_off = BackOff(FRESH / 2, LONGEST_PAUSE_S)
        """When to speak again after a round in which nothing could be kept, or the provider gave no answer."""
        self._parts = parts
        self._failing = Failing("greetings")
        self._refused = dict[_Piece, BackOff]()
        self._failures: list[Exception] = []
        """Of this round."""
        self._seen = set[_Piece]()
        self._spoken = self._unanswered = 0
        """Of this round; failures in a row that were no answer to what was asked: the plugin has tried again by itself."""

    async def all_of(self, accounts: Sequence[str], store: AccountStore, audio: AudioCache) -> int:
        """Speak and keep what is missing of their greetings. Returns how many pieces were spoken. Raises StoreError."""
        self._failures, self._seen, self._spoken, self._unanswered = [], set(), 0, 0
        left = iter(accounts)
        try:
            await together(*(self._speak(left, store, audio) for _ in range(AT_ONCE)))
        except (APIError, NotKept):  # the provider is down, or the cache: counted like a refusal
            self.back_off.failed()
        else:
            self.back_off.worked()
            self._refused = {piece: pause for piece, pause in self._refused.items() if piece in self._seen}
        if self._failures:
            reason = type(self._failures[-1]).__name__
            count = len(self._failures)
            self._failing.failed(reason, f"greetings that could not be made ahead: {count}, the last for {reason}")
        else:
            self._failing.works()
        return self._spoken

    async def _speak(self, left: Iterator[str], store: AccountStore, audio: AudioCache) -> None:
        speaker = self._parts.speaker()
        try:
            for id in left:
                account = await store.greeting_fields(id) or GENERIC
                speaker.speak_as(account.voice)
                voice = speaker.voice
                if voice is None:
                    _say_no_key()
                    return
                now = time.time()
                # the next part of the day may begin before the next round
                for written in dict.fromkeys(greeting_text(account, instant) for instant in (now, now + FRESH)):
                    piece = id, voice, written.text
                    self._seen.add(piece)
                    if piece not in self._refused or self._refused[piece].due:
                        await self._make(piece, greetings.make_ahead(written, account, speaker, voice, audio), audio)
        finally:
            await speaker.aclose()

    async def _make(self, piece: _Piece, making: Coroutine[Any, Any, int], audio: AudioCache) -> None:
        """Go on after a failure, unless it will be that of each piece: then it is raised."""
        try:
            spoken = await making
        except (APIError, NotKept) as error:
            self._failures.append(error)
            self._refused.setdefault(piece, BackOff(FRESH, LONGEST_REFUSAL_S)).failed()
            self._unanswered += isinstance(error, APIError) and error.retryable
            if self._unanswered >= AT_ONCE or not await audio.keeps():
                raise
        else:
            self._spoken += spoken
            self._unanswered = 0 if spoken else self._unanswered
            self._refused.pop(piece, None)
