"""Prepares the greeting's audio: from the cache, from the TTS, or from the file that we ship.

Between account and playout. Audio is cached by account, voice, text and day part. On a miss a cached opening plays; the
personal part is synthesised meanwhile and joins it. If the TTS is down, or breaks off, the shipped file is played.
"""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from livekit import rtc

from firstword.agent.accounts.model import GreetingFields
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.audio.splice import Joint, joined
from firstword.agent.greeting.audio_cache import AudioCache, CachedSpeech
from firstword.agent.greeting.text import GreetingText, opening_of, rest_of

if TYPE_CHECKING:
    from firstword.agent.audio.speaker import Speaker

SHIPPED_TEXT = "Hello! How can I help you today?"
_SOUNDS = Path(__file__).parent / "sounds"
_SHIPPED_AUDIO = _SOUNDS / "hello.wav"
_Item = TypeVar("_Item")


class Audio:
    """The audio of a speech, which may still be arriving. It can be played from its beginning at any time, and more
    than once.
    """

    def __init__(
        self, frames: Sequence[rtc.AudioFrame] = (), source: AsyncIterator[rtc.AudioFrame] | None = None
    ) -> None:
        """Takes the frames that are there, and a source of those that follow, which is read at once. Needs a running
        loop.
        """
        self._frames = list(frames)
        self._words = list[str]()
        self._more = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        if source is not None:
            self.read(source)

    def read(self, source: AsyncIterator[rtc.AudioFrame]) -> None:
        """Begins to read the frames of `source`. Call it once, and only if no source was given before."""
        self._reading = asyncio.create_task(self._read(source), name="greeting audio")
        self._reading.add_done_callback(lambda _: self._more.set())

    async def play(self) -> AsyncGenerator[rtc.AudioFrame]:
        """Yields every frame from the first on, waiting for those that have not arrived. Ends after `aclose`. Raises
        what the source raised.
        """
        async for frame in self._from_the_first(self._frames):
            yield frame
        if self._reading is not None and not self._reading.cancelled():
            self._reading.result()

    async def whole(self) -> list[rtc.AudioFrame]:
        """Waits until all audio has arrived and returns its frames. Raises what the source raised, and CancelledError
        after `aclose`.
        """
        frames = [frame async for frame in self.play()]
        if self._reading is not None:
            self._reading.result()
        return frames

    def words(self) -> AsyncIterator[str]:
        """Yields the pieces of text that are said, in order, as soon as each is known. Ends when all audio has arrived."""
        return self._from_the_first(self._words)

    def add_words(self, text: str, *, instead_for: Exception | None = None) -> None:
        """Adds the text that is said next.

        instead_for: the error that made us say this text instead of the one that was planned.
        """
        self._words.append(text)
        self._failure = instead_for
        self._more.set()

    async def failure(self) -> Exception | None:
        """Waits until all audio has arrived. Returns the error that made us play the shipped greeting instead, or None."""
        if self._reading is not None:
            await asyncio.wait({self._reading})
        return self._failure

    async def aclose(self) -> None:
        """Stops reading the source."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _from_the_first(self, items: Sequence[_Item]) -> AsyncGenerator[_Item]:
        given = 0
        while True:
            while given < len(items):
                yield items[given]
                given += 1
            if self._reading is None or self._reading.done():
                return
            self._more.clear()
            await self._more.wait()

    async def _read(self, source: AsyncIterator[rtc.AudioFrame]) -> None:
        try:
            async for frame in source:
                self._frames.append(frame)
                self._more.set()
        except Exception as error:  # the TTS's own, whichever provider it is
            if not self._frames:
                raise
            # what was said can't be taken back, and half a greeting is none
            self._frames.extend(_frames(_SHIPPED_AUDIO))
            self.add_words(f" {SHIPPED_TEXT}", instead_for=error)


@dataclass(frozen=True)
class PreparedGreeting:
    """The greeting that is said first: its text and its audio. If `audio` is None, the session's TTS speaks the text."""

    text: str
    audio: Audio | None = None
    hit: bool | None = None
    """Whether the audio was cached; None if no cache was asked."""
    missing: tuple[CachedSpeech, ...] = ()
    """The speeches that the cache did not have."""

    @property
    def said(self) -> str | AsyncIterable[str]:
        """Returns the text that is said: as one string, or piece by piece if it is known only as the audio arrives."""
        return self.text if self.audio is None or self.hit is not False else self.audio.words()


def shipped() -> PreparedGreeting:
    """Returns the generic greeting, in English, with the audio that comes with the package. It needs no provider."""
    return PreparedGreeting(SHIPPED_TEXT, shipped_audio())


def shipped_audio() -> Audio:
    """Returns the audio of `SHIPPED_TEXT` that comes with the package."""
    return Audio(_frames(_SHIPPED_AUDIO))


def shipped_apology() -> Audio:
    """Returns the audio, shipped with the package, of a sentence that says that the call can't go on."""
    return Audio(_frames(_SOUNDS / "sorry.wav"))


class NotKept(Exception):
    """Raised when audio could not be cached: the cache does not work, or the voice made no sound."""


async def prepared(
    written: GreetingText,
    account: GreetingFields,
    speaker: Speaker,
    voice: str | None,
    audio: AudioCache,
    *,
    deadline: float,
) -> PreparedGreeting:
    """Returns the greeting with its audio: cached as a whole, or a cached opening with the rest synthesised, or all
    synthesised.

    voice: the one that speaks, `Speaker.voice`; without one nothing is cached. deadline: seconds that the personal part
    may take from now on, or until a cached opening's end. After that the shipped sentence follows. It is also how long
    the personal part may make no sound once it speaks. Raises nothing itself. Playing the audio raises the TTS's error
    if none of it has arrived.
    """
    coming = Audio()
    if voice is None:
        coming.add_words(written.text)
        coming.read(speaker.spoken(written.text, patience=deadline))
        return PreparedGreeting(written.text, coming, hit=False)
    cached = await look_up(written, account, voice, audio)
    if cached is not None:
        return PreparedGreeting(written.text, Audio(cached), hit=True)
    whole, opening = _speeches(written, account, voice)
    begin = None if opening is None else await audio.get(opening)
    if opening is None or begin is None:
        missing = (whole,) if opening is None else (whole, opening)
        coming.add_words(written.text)
        coming.read(speaker.spoken(written.text, patience=deadline))
        return PreparedGreeting(written.text, coming, hit=False, missing=missing)
    rest = rest_of(written, opening.text)

    def told(joint: Joint) -> None:
        coming.add_words(rest if joint.error is None else SHIPPED_TEXT, instead_for=joint.error)

    patience = max(deadline - sum(frame.duration for frame in begin), 0.0)
    coming.add_words(written.text.removesuffix(rest))
    personal = speaker.spoken(rest, patience=deadline)
    coming.read(joined(begin, personal, patience=patience, otherwise=_frames(_SHIPPED_AUDIO), told=told))
    return PreparedGreeting(written.text, coming, hit=False, missing=(whole,))


async def look_up(
    written: GreetingText, account: GreetingFields, voice: str, audio: AudioCache
) -> Sequence[rtc.AudioFrame] | None:
    """Returns the greeting's audio from the cache, or None if the cache has none."""
    return await audio.get(_speeches(written, account, voice)[0])


async def make_ahead(
    written: GreetingText, account: GreetingFields, speaker: Speaker, voice: str, audio: AudioCache
) -> int:
    """Synthesises and caches the pieces of the greeting that the cache lacks. Returns how many it synthesised.

    voice: `Speaker.voice`. If the provider refuses it and another voice speaks, the audio is kept as that one's.
    Raises LiveKit's APIError, and NotKept if the audio could not be kept; then no more is synthesised.
    """
    made = 0
    for speech in _speeches(written, account, voice):
        if speech is not None and await audio.get(speech) is None:
            recorded = await speaker.recorded(speech.text)
            if not await audio.put(replace(speech, voice=speaker.voice or voice), recorded):
                raise NotKept
            made += 1
    return made


def _speeches(written: GreetingText, account: GreetingFields, voice: str) -> tuple[CachedSpeech, CachedSpeech | None]:
    """The whole greeting, which is the account's own, and its opening, which names nobody."""
    opening = opening_of(account, written)
    return (
        CachedSpeech(account.id, voice, written.text, written.day_part, SAMPLE_RATE),
        None if opening is None else CachedSpeech("", voice, opening, written.day_part, SAMPLE_RATE),
    )


async def keep(greeting: PreparedGreeting, speaker: Speaker, audio: AudioCache) -> None:
    """Caches the pieces of the greeting that the cache lacked, for the next call. Does nothing if the voice failed or
    was refused.

    Raises LiveKit's APIError, and NotKept if the cache does not take a piece; then no more is synthesised.
    """
    if greeting.audio is None or await greeting.audio.failure() is not None:
        return
    for speech in greeting.missing:
        if speech.voice != speaker.voice:
            return  # another spoke, as it will in the next call
        whole = speech.text == greeting.text
        if not await audio.put(speech, await greeting.audio.whole() if whole else await speaker.recorded(speech.text)):
            raise NotKept


@cache
def _frames(path: Path) -> tuple[rtc.AudioFrame, ...]:
    with wave.open(str(path), "rb") as file:
        rate, samples = file.getframerate(), file.getframerate() // 50
        frames: list[rtc.AudioFrame] = []
        while data := file.readframes(samples):
            frames.append(rtc.AudioFrame(data, rate, 1, len(data) // 2))
        return tuple(frames)
