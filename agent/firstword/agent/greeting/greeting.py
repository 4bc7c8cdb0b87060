"""The greeting: what is said first, from where its audio comes, and what is said when that fails.

Between account and playout. Audio is cached by account, voice, text and day part. On a miss a cached opening plays; the personal part is
synthesised meanwhile and joins it. Where the TTS is down, or breaks off, a file that we ship is said.
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
    from firstword.agent.audio.synthesis import Synthesis

SHIPPED_TEXT = "Hello! How can I help you today?"
_SOUNDS = Path(__file__).parent / "sounds"
_SHIPPED_AUDIO = _SOUNDS / "hello.wav"
_Item = TypeVar("_Item")


class Audio:
    """Sound that may still be coming: it can be played from its beginning at any time, and more than once."""

    def __init__(
        self, frames: Sequence[rtc.AudioFrame] = (), source: AsyncIterator[rtc.AudioFrame] | None = None
    ) -> None:
        """The frames that are there, then those of `source`, which is read at once; needs a running loop."""
        self._frames = list(frames)
        self._words = list[str]()
        self._more = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        if source is not None:
            self.read(source)

    def read(self, source: AsyncIterator[rtc.AudioFrame]) -> None:
        """Read `source` from now on: once, where none was given at first."""
        self._reading = asyncio.create_task(self._read(source), name="greeting audio")
        self._reading.add_done_callback(lambda _: self._more.set())

    async def play(self) -> AsyncGenerator[rtc.AudioFrame]:
        """Every frame from the first on, as they come; no more after `aclose`. Raises what the source raised, where it did."""
        async for frame in self._from_the_first(self._frames):
            yield frame
        if self._reading is not None and not self._reading.cancelled():
            self._reading.result()

    async def whole(self) -> list[rtc.AudioFrame]:
        """All of it, once it has come. Raises what the source raised, CancelledError after `aclose`."""
        frames = [frame async for frame in self.play()]
        if self._reading is not None:
            self._reading.result()
        return frames

    def words(self) -> AsyncIterator[str]:
        """Every piece of text that is said, in order, as it is known that it is; no more once all has come."""
        return self._from_the_first(self._words)

    def add_words(self, text: str, *, instead_for: Exception | None = None) -> None:
        """This is said next; `instead_for`: why it isn't what was to be said."""
        self._words.append(text)
        self._failure = instead_for
        self._more.set()

    async def failure(self) -> Exception | None:
        """Why something else than was to be said is in it, once all has come; None where nothing is."""
        if self._reading is not None:
            await asyncio.wait({self._reading})
        return self._failure

    async def aclose(self) -> None:
        """Read no more."""
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
    """What is said first. `audio`: None lets the session's TTS speak the text."""

    text: str
    audio: Audio | None = None
    hit: bool | None = None
    """Whether the audio was cached; None where no cache was asked."""
    missing: tuple[CachedSpeech, ...] = ()
    """What the cache did not have."""

    @property
    def said(self) -> str | AsyncIterable[str]:
        """The text as it is said; piece by piece where that is only known when the audio comes."""
        return self.text if self.audio is None or self.hit is not False else self.audio.words()


def shipped() -> PreparedGreeting:
    """The generic greeting with the audio that comes with the package: needs no provider."""
    return PreparedGreeting(SHIPPED_TEXT, shipped_audio())


def shipped_audio() -> Audio:
    """`SHIPPED_TEXT` as it comes with the package."""
    return Audio(_frames(_SHIPPED_AUDIO))


def shipped_apology() -> Audio:
    """Says that the call can't go on, with the audio that comes with the package."""
    return Audio(_frames(_SOUNDS / "sorry.wav"))


class NotKept(Exception):
    """What was spoken could not be kept: the cache does not work, or the voice made no sound."""


async def prepared(
    written: GreetingText,
    account: GreetingFields,
    synthesis: Synthesis,
    voice: str,
    audio: AudioCache,
    *,
    deadline: float,
) -> PreparedGreeting:
    """The greeting with its audio at hand, or as much of it as there is.

    voice: the one that speaks, `Synthesis.voice`. deadline: seconds that the personal part may take from now on, or until a cached
    opening's end. After that the shipped sentence follows. It is also how long the personal part may falter once it speaks. Raises nothing
    of its own; the audio may, while it is played: where nothing of it has come.
    """
    cached = await look_up(written, account, voice, audio)
    if cached is not None:
        return PreparedGreeting(written.text, Audio(cached), hit=True)
    whole, opening = _speeches(written, account, voice)
    coming = Audio()
    begin = None if opening is None else await audio.get(opening)
    if opening is None or begin is None:
        missing = (whole,) if opening is None else (whole, opening)
        coming.add_words(written.text)
        coming.read(synthesis.spoken(written.text, patience=deadline))
        return PreparedGreeting(written.text, coming, hit=False, missing=missing)
    rest = rest_of(written, opening.text)

    def told(joint: Joint) -> None:
        coming.add_words(rest if joint.error is None else SHIPPED_TEXT, instead_for=joint.error)

    patience = max(deadline - sum(frame.duration for frame in begin), 0.0)
    coming.add_words(written.text.removesuffix(rest))
    personal = synthesis.spoken(rest, patience=deadline)
    coming.read(joined(begin, personal, patience=patience, otherwise=_frames(_SHIPPED_AUDIO), told=told))
    return PreparedGreeting(written.text, coming, hit=False, missing=(whole,))


async def look_up(
    written: GreetingText, account: GreetingFields, voice: str, audio: AudioCache
) -> Sequence[rtc.AudioFrame] | None:
    """Returns the greeting's audio from the cache; None where it has none."""
    return await audio.get(_speeches(written, account, voice)[0])


async def make_ahead(
    written: GreetingText, account: GreetingFields, synthesis: Synthesis, voice: str, audio: AudioCache
) -> int:
    """Speak and keep what the cache does not have of the greeting. Returns how many pieces it was.

    voice: `Synthesis.voice`. What is spoken by another, since the provider refuses this one, is kept as that one's.
    Raises LiveKit's APIError, and NotKept where what was spoken could not be kept: no more is spoken then.
    """
    made = 0
    for speech in _speeches(written, account, voice):
        if speech is not None and await audio.get(speech) is None:
            recorded = await synthesis.recorded(speech.text)
            if not await audio.put(replace(speech, voice=synthesis.voice), recorded):
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


async def keep(greeting: PreparedGreeting, synthesis: Synthesis, audio: AudioCache) -> None:
    """Cache the audio of the greeting that the cache lacked, for the next call. Does nothing where the voice failed or was refused.

    Raises LiveKit's APIError, and NotKept where the cache does not take it: no more is spoken then.
    """
    if greeting.audio is None or await greeting.audio.failure() is not None:
        return
    for speech in greeting.missing:
        if speech.voice != synthesis.voice:
            return  # another spoke, as it will in the next call
        whole = speech.text == greeting.text
        if not await audio.put(
            speech, await greeting.audio.whole() if whole else await synthesis.recorded(speech.text)
        ):
            raise NotKept


@cache
def _frames(path: Path) -> tuple[rtc.AudioFrame, ...]:
    with wave.open(str(path), "rb") as file:
        rate, samples = file.getframerate(), file.getframerate() // 50
        frames: list[rtc.AudioFrame] = []
        while data := file.readframes(samples):
            frames.append(rtc.AudioFrame(data, rate, 1, len(data) // 2))
        return tuple(frames)
