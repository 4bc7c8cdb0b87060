"""Turns text into audio with any TTS: as it is spoken, or recorded for later. The result is the whole text, or an
error.

Between a TTS of LiveKit's and the greeting's audio.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import numpy as np
from livekit import rtc
from livekit.agents import APIConnectionError, APIError, tts

SAMPLE_RATE = 24_000
"""Sample rate of the agent's voice in Hz, which the room's track has. Audio of other rates is resampled to it."""
FASTEST: Final = 30
"""Letters and digits a second of a speech that is faster than any voice.

Usual speech has 15 characters a second with blanks and stops, some 12 letters; the sentences that ship with the package
have 9 and 10. Deepgram's fastest setting is 1.5 times the usual. Scripts of syllables have fewer letters a second.
"""

HELD_S: Final = 0.1
"""Seconds of audio that a speech must have before any of it is played. A file's header, or an error of some words, has
less.
"""


def shortest(text: str) -> float:
    """Returns the least seconds in which any voice can say the text. Shorter audio is not the whole text."""
    return sum(character.isalnum() for character in text) / FASTEST


class TooShort(APIError):
    """Raised when a provider's answer looks complete, but its audio is far too short for the text."""

    def __init__(self, seconds: float, text: str) -> None:
        super().__init__(f"expected {shortest(text):.2f} s of audio or more, not {seconds:.2f} s", retryable=False)


async def spoken(engine: tts.TTS[Any], text: str, *, patience: float) -> AsyncIterator[rtc.AudioFrame]:
    """Yields the text's audio frame by frame, mono at `SAMPLE_RATE`. Raises LiveKit's APIError, also if the speech is
    cut off.

    The first `HELD_S` seconds come at once, so that nothing is heard of an answer that has no more. After the first
    frame, raises TimeoutError if none comes for `patience` seconds: plugins wait for 30. Raises TooShort at the end if
    the audio is too short for the text.
    """
    seconds, held, rate = 0.0, list[rtc.AudioFrame](), AtVoiceRate()
    async with engine.synthesize(text) as stream:
        request = None
        while True:
            try:
                async with asyncio.timeout(None if request is None else patience):
                    part = await anext(stream)
            except StopAsyncIteration:
                break
            # livekit-agents 1.8.9, tts/tts.py: after a cut it speaks the text anew, from its beginning
            if part.request_id != (request := request or part.request_id):
                raise APIConnectionError("the speech was cut off")
            held.extend(rate.of(part.frame))
            seconds += part.frame.duration
            if seconds >= HELD_S:
                for frame in held:
                    yield frame
                held.clear()
    _check(seconds, text)
    for frame in (*held, *rate.rest()):
        yield frame


async def recorded(engine: tts.TTS[Any], text: str) -> list[rtc.AudioFrame]:
    """Waits until the whole text has been spoken and returns its frames, mono at `SAMPLE_RATE`. After a cut the speech
    is begun anew.

    Raises LiveKit's APIError, and TooShort if the audio is too short for the text.
    """
    request, frames = None, list[rtc.AudioFrame]()
    async with engine.synthesize(text) as stream:
        async for part in stream:
            if part.request_id != request:
                request, frames = part.request_id, []
            frames.append(part.frame)
    _check(sum(frame.duration for frame in frames), text)
    rate = AtVoiceRate()
    return [*(each for frame in frames for each in rate.of(frame)), *rate.rest()]


class AtVoiceRate:
    """Converts the frames of one speech to mono at `SAMPLE_RATE`, whatever the engine's rate and channels."""

    def __init__(self) -> None:
        self._resampler: rtc.AudioResampler | None = None

    def of(self, frame: rtc.AudioFrame) -> list[rtc.AudioFrame]:
        """Returns the frame converted, as a list. It may be empty: the resampler then gives its sound with a later
        frame.
        """
        if frame.num_channels != 1:
            frame = _mono(frame)
        if frame.sample_rate == SAMPLE_RATE:
            return [frame]
        if self._resampler is None:
            self._resampler = rtc.AudioResampler(frame.sample_rate, SAMPLE_RATE)
        return self._resampler.push(frame)

    def rest(self) -> list[rtc.AudioFrame]:
        """Returns the frames that the resampler still holds. Call it once the speech is over."""
        return [] if self._resampler is None else self._resampler.flush()


def _mono(frame: rtc.AudioFrame) -> rtc.AudioFrame:
    samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
    return rtc.AudioFrame(samples.mean(axis=1).astype(np.int16).tobytes(), frame.sample_rate, 1, len(samples))


def _check(seconds: float, text: str) -> None:
    if seconds < shortest(text):
        raise TooShort(seconds, text)
