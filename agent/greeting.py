"""The greeting: what is said first, from where its audio comes, and what is said when that fails.

Between account and playout. Audio is cached by account, voice, text and day part; on a miss a cached opening plays while the
personal part is synthesised and joins it. Where the TTS is down, a file that we ship is said.
"""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from livekit import rtc

from agent.accounts.model import GreetingFields
from agent.caches.audio import AudioCache, Speech
from agent.components import SAMPLE_RATE, Components
from agent.greeting_text import GreetingText, opening_of, rest_of
from agent.splice import Joint, joined

SHIPPED_TEXT = "Hello! How can I help you today?"
_SOUNDS = Path(__file__).parent / "sounds"
_SHIPPED_AUDIO = _SOUNDS / "hello.wav"


class Audio:
    """Sound that may still be coming: it can be played from its beginning at any time, and more than once."""

    def __init__(
        self, frames: Sequence[rtc.AudioFrame] = (), source: AsyncIterator[rtc.AudioFrame] | None = None
    ) -> None:
        """The frames that are there, then those of `source`, which is read at once; needs a running loop."""
        self._frames = list(frames)
        self._more = asyncio.Event()
        self._reading = None if source is None else asyncio.create_task(self._read(source), name="greeting audio")
        if self._reading is not None:
            self._reading.add_done_callback(lambda _: self._more.set())

    async def play(self) -> AsyncGenerator[rtc.AudioFrame]:
        """Every frame from the first on, as they come; no more after `aclose`. Raises what the source raised, where it did."""
        played = 0
        while True:
            while played < len(self._frames):
                yield self._frames[played]
                played += 1
            if self._reading is None or self._reading.done():
                break
            self._more.clear()
            await self._more.wait()
        if self._reading is not None and not self._reading.cancelled():
            self._reading.result()

    async def whole(self) -> list[rtc.AudioFrame]:
        """All of it, once it has come. Raises what the source raised, CancelledError after `aclose`."""
        frames = [frame async for frame in self.play()]
        if self._reading is not None:
            self._reading.result()
        return frames

    async def aclose(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, source: AsyncIterator[rtc.AudioFrame]) -> None:
        async for frame in source:
            self._frames.append(frame)
            self._more.set()


@dataclass(frozen=True)
class Greeting:
    """What is said first. `audio`: None lets the session's TTS speak the text."""

    text: str
    audio: Audio | None = None
    hit: bool | None = None
    """Whether the audio was cached; None where no cache was asked."""
    missing: tuple[Speech, ...] = ()
    """What the cache did not have."""
    joints: Sequence[Joint] = ()
    """How a cached opening and what followed it were joined, once they are."""


def shipped() -> Greeting:
    """The generic greeting with the audio that comes with the package: needs no provider."""
    return Greeting(SHIPPED_TEXT, shipped_audio())


def shipped_audio(sound: str = "hello") -> Audio:
    """A sound that comes with the package, by its file's name; by default that of `SHIPPED_TEXT`."""
    return Audio(_frames(_SOUNDS / f"{sound}.wav"))


async def prepared(
    written: GreetingText, account: GreetingFields, components: Components, voice: str, audio: AudioCache
) -> Greeting:
    """The greeting with its audio at hand, or as much of it as there is.

    voice: the one that speaks, the account's or the settings'. Raises nothing of its own; the audio may, while it is played.
    """
    whole, opening = _speeches(written, account, voice)
    cached = await audio.get(whole)
    if cached is not None:
        return Greeting(written.text, Audio(cached), hit=True)
    begin = None if opening is None else await audio.get(opening)
    if opening is None or begin is None:
        missing = (whole,) if opening is None else (whole, opening)
        return Greeting(written.text, Audio(source=components.spoken(written.text)), hit=False, missing=missing)
    rest = components.spoken(rest_of(written, opening.text))
    joints: list[Joint] = []
    source = joined(begin, rest, otherwise=_frames(_SHIPPED_AUDIO), told=joints.append)
    return Greeting(written.text, Audio(source=source), hit=False, missing=(whole,), joints=joints)


async def make_ahead(
    written: GreetingText, account: GreetingFields, components: Components, voice: str, audio: AudioCache
) -> int:
    """Speak and keep what the cache does not have of the greeting; how many pieces. Raises LiveKit's APIError."""
    made = 0
    for speech in _speeches(written, account, voice):
        if speech is not None and await audio.get(speech) is None:
            await audio.put(speech, [frame async for frame in components.spoken(speech.text)])
            made += 1
    return made


def _speeches(written: GreetingText, account: GreetingFields, voice: str) -> tuple[Speech, Speech | None]:
    """The whole greeting, which is the account's own, and its opening, which names nobody."""
    opening = opening_of(account, written)
    return (
        Speech(account.id, voice, written.text, written.day_part, SAMPLE_RATE),
        None if opening is None else Speech("", voice, opening, written.day_part, SAMPLE_RATE),
    )


async def keep(greeting: Greeting, components: Components, audio: AudioCache) -> None:
    """Cache what was missing, for the next call. Raises LiveKit's APIError."""
    for speech in greeting.missing:
        said = None if greeting.audio is None or speech.text != greeting.text else await greeting.audio.whole()
        # what was said in the personal part's place is not this greeting
        if said is None or any(joint.error_type is not None for joint in greeting.joints):
            said = [frame async for frame in components.spoken(speech.text)]
        await audio.put(speech, said)


@cache
def _frames(path: Path) -> tuple[rtc.AudioFrame, ...]:
    with wave.open(str(path), "rb") as file:
        rate, samples = file.getframerate(), file.getframerate() // 50
        frames: list[rtc.AudioFrame] = []
        while data := file.readframes(samples):
            frames.append(rtc.AudioFrame(data, rate, 1, len(data) // 2))
        return tuple(frames)
