"""The greeting of any agent: its text, its owner, and its audio by the session's own engine, cached if that is allowed.

Under the plan of `firstword.agent.first_word_plan`; the shipped worker's greetings are of accounts.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from livekit import rtc
from livekit.agents import Agent

from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.cache.cache import Cache, CacheURLError, open_cache
from firstword.agent.greeting.audio_cache import BOUNDS, AudioCache, CachedSpeech
from firstword.agent.greeting.engine import Engine, said_by, voice_key
from firstword.agent.greeting.greeting import Audio, PreparedGreeting
from firstword.agent.greeting.session_recorder import is_verbatim

logger = logging.getLogger("firstword")

CACHE_URL: Final = "FIRSTWORD_CACHE_URL"
"""Variable with the URL of a Redis that machines share. Without it the audio is in a file that this machine's processes
share.
"""
_CACHE: Final = "greetings"
_DAYS: Final = 7.0
_DEADLINE_S: Final = 0.2
RECORDING_PATIENCE_S: Final = 5.0
"""Seconds that an engine may make no sound while it records and nobody waits."""
MOST_OWN: Final = 64
"""Most greetings that a process keeps in memory for an engine whose voice cannot be read."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """A text that one caller hears first, and the owner of its audio.

    owner: whose audio it is, such as a customer's id. The audio is cached, and deleted with `Greeting.forget(owner)`.
    Without an owner it is not kept. A greeting for everybody is a plain text, no Greeting.
    """

    text: str
    owner: str | None = None

    def __post_init__(self) -> None:
        if self.owner == "":
            raise ValueError("expected the owner of a greeting's audio, or None; an empty text is nobody's")

    @staticmethod
    async def forget(owner: str) -> bool:
        """Deletes this owner's cached audio: in this process, and on this machine or in the Redis that machines share.

        Returns False if that could not be done. For 300 s nothing of this owner is kept.
        """
        for own in _own.values():
            for speech in [each for each in own if each.account == owner]:
                del own[speech]
        kept = _opened()
        try:
            return await kept.forget(owner)
        finally:
            await kept.aclose()


EVERYBODY: Final = ""
"""The owner of audio that anybody may hear."""


class EmptyGreeting(ValueError):
    """Raised for a greeting without a letter or a digit."""


@dataclass(frozen=True, slots=True, repr=False)
class OwnedText:
    """A greeting's text and the owner of its audio: `EVERYBODY`, somebody's id, or None for audio that is not kept."""

    text: str
    owner: str | None

    def __post_init__(self) -> None:
        if not any(map(str.isalnum, self.text)):
            raise EmptyGreeting("expected a greeting with a letter or a digit")


def owned(greeting: str | Greeting, *, of: str | None) -> OwnedText:
    """Returns the greeting with its owner. The owner of a plain text is `of`. Raises EmptyGreeting, and TypeError for
    anything else than a text or a Greeting.
    """
    if isinstance(greeting, str):
        return OwnedText(greeting, of)
    if isinstance(greeting, Greeting):  # pyright: ignore[reportUnnecessaryIsInstance]  # what a user's function returned
        return OwnedText(greeting.text, greeting.owner)
    raise TypeError(f"expected a text or a Greeting, not {type(greeting).__qualname__}")


class GreetingAudio:
    """Makes the audio of one call's greeting, or takes it from the cache, where it is kept by the voice that says it.

    cache_key: the user's name for the voice; None: it is read from the engine. If that fails, audio is kept in this
    process only. cache: used instead of the environment's.
    """

    def __init__(self, engine: Engine, agent: Agent, cache_key: str | None, cache: Cache | None = None) -> None:
        self._engine = engine
        self._instructions = str(agent.instructions)
        self._voice = cache_key or voice_key(engine, agent)
        self._kept = cache or _opened()
        self._verbatim = True
        self._cache = AudioCache(self._kept, days=_DAYS)
        if self._voice is None:
            _say_unreadable(f"{type(engine).__module__}.{type(engine).__qualname__}")

    async def prepared(self, said: OwnedText, *, patience: float) -> PreparedGreeting:
        """Returns the greeting with its audio: from the cache, or as the engine speaks it from now on. Playing it
        raises what the engine raises.

        patience: seconds that a TTS may make no sound after its first frame.
        """
        speech = None if said.owner is None else self._speech(said.text, said.owner)
        if cached := await self.cached(said):
            return PreparedGreeting(said.text, Audio(cached), hit=True)
        coming = Audio()

        def told(words: str) -> None:
            coming.add_words(words or said.text)
            self._verbatim = is_verbatim(words or said.text, said.text)

        coming.read(said_by(self._engine, said.text, self._instructions, told, patience=patience))
        return PreparedGreeting(said.text, coming, hit=False, missing=() if speech is None else (speech,))

    async def cached(self, said: OwnedText) -> Sequence[rtc.AudioFrame] | None:
        """Returns the frames of the audio if it is cached, else None."""
        if said.owner is None:
            return None
        speech = self._speech(said.text, said.owner)
        if self._voice is None:
            return _own.get(self._engine, {}).get(speech)
        return await self._cache.get(speech)

    async def record(self, said: OwnedText) -> None:
        """Synthesises and caches the greeting's audio before anybody calls, unless it is cached. Raises what the engine
        raises.
        """
        greeting = await self.prepared(said, patience=RECORDING_PATIENCE_S)
        try:
            await self.keep(greeting)
        finally:
            if greeting.audio is not None:
                await greeting.audio.aclose()

    async def keep(self, greeting: PreparedGreeting) -> None:
        """Waits until all audio has arrived, and caches it if it was missing. Raises what the engine raised.

        It is not cached if the shipped greeting had to take its place, or the model said something else than the text.
        """
        for speech in greeting.missing:
            if greeting.audio is None or await greeting.audio.failure() is not None:
                return
            frames = await greeting.audio.whole()
            if not self._verbatim:
                logger.warning("a greeting is not kept: the model said something else than its text")
                return
            if self._voice is None:
                own = _own.setdefault(self._engine, {})
                if len(own) < MOST_OWN:
                    own[speech] = frames
            else:
                await self._cache.put(speech, frames)

    async def aclose(self) -> None:
        """Closes the cache."""
        await self._kept.aclose()

    def _speech(self, text: str, owner: str) -> CachedSpeech:
        return CachedSpeech(owner, self._voice or "", text, None, SAMPLE_RATE)


_own: weakref.WeakKeyDictionary[Engine, dict[CachedSpeech, list[rtc.AudioFrame]]] = weakref.WeakKeyDictionary()
"""By the engine itself: another one may have another voice."""


def _opened() -> Cache:
    url = os.environ.get(CACHE_URL) or None
    try:
        return open_cache(_CACHE, BOUNDS, url=url, folder=None, deadline=_DEADLINE_S, key="")
    except CacheURLError:
        _say_wrong_url()
        return open_cache(_CACHE, BOUNDS, url=None, folder=None, deadline=_DEADLINE_S, key="")


@cache
def _say_wrong_url() -> None:
    logger.warning("%s is wrong (a secret, not shown); expected redis://HOST or rediss://HOST", CACHE_URL)


@cache
def _say_unreadable(engine: str) -> None:
    logger.warning(
        "greetings of %s are kept in this process only, since its voice cannot be read; expected cache_key=, "
        "a name of yours for the voice",
        engine,
    )
