"""Caches the audio of greetings: one that was spoken once needs no provider the next time.

Between TTS and the playout, on a `Cache` that other processes and machines share. The audio is kept raw, 48 KB a second
at 24 kHz, and is read in a tenth of a millisecond. A codec would cost CPU in the very start that it is to shorten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from livekit import rtc

from firstword.agent.audio.speaking import shortest
from firstword.agent.audio.splice import frames_of, samples_of, trimmed
from firstword.agent.cache.backend import Bounds
from firstword.agent.cache.cache import Cache, Key
from firstword.agent.greeting.text import DayPart

BOUNDS: Final = Bounds(bytes=256_000_000, entries=5_000)
"""Room for some fifteen hundred greetings of 3.5 s at 24 kHz."""
_DAY: Final = 86_400.0
_BYTES_PER_SAMPLE: Final = 2


@dataclass(frozen=True, slots=True, repr=False)
class CachedSpeech:
    """The key of cached speech: account, voice, text, part of the day and sample rate. The same key means the same
    audio.
    """

    account: str
    """The account's id; empty for a text that anybody may hear. When the account is deleted, so is its audio."""
    voice: str
    text: str
    day_part: DayPart | None
    sample_rate: int
    """Hz."""


class AudioCache:
    """Keeps the audio of spoken greetings, and returns it as mono frames of 20 ms."""

    def __init__(self, cache: Cache, *, days: float) -> None:
        self._cache = cache
        self._lifetime = days * _DAY

    async def get(self, speech: CachedSpeech) -> list[rtc.AudioFrame] | None:
        """Returns the cached audio of the speech as frames. Never raises.

        Returns None if it is not cached, the cache is late, or it is too short to be all of the text.
        """
        entry = await self._cache.get(_key(speech))
        if entry is None or len(entry.value) % _BYTES_PER_SAMPLE or not _is_speech(entry.value, speech):
            return None
        return frames_of(np.frombuffer(entry.value, np.int16), speech.sample_rate)

    async def keeps(self) -> bool:
        """Returns whether the cache can keep something now."""
        return await self._cache.keeps()

    async def put(self, speech: CachedSpeech, audio: Iterable[rtc.AudioFrame]) -> bool:
        """Keeps the audio, without the silence that TTS puts before and after it. Returns whether it was kept.

        Audio that is all silence, or too short for its text, is not kept. Raises ValueError for frames that aren't mono
        at the speech's rate.
        """
        value = trimmed(samples_of(audio, speech.sample_rate), speech.sample_rate).tobytes()
        return _is_speech(value, speech) and await self._cache.put(
            _key(speech), value, owner=speech.account, lifetime=self._lifetime
        )


def _is_speech(value: bytes, speech: CachedSpeech) -> bool:
    """Whether there is sound, and enough of it for the text."""
    return bool(value) and len(value) / _BYTES_PER_SAMPLE / speech.sample_rate >= shortest(speech.text)


def _key(speech: CachedSpeech) -> Key:
    return "speech", speech.account, speech.voice, speech.text, speech.day_part or "", str(speech.sample_rate)
