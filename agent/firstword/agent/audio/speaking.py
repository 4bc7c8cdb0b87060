"""Text becomes sound, by any TTS: as it is spoken, or recorded for later; all of it, or an error.

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
"""Hz of the agent's voice: what the room's track takes. Other rates become it."""
FASTEST: Final = 30
"""Letters and digits a second that no voice is faster than.

Usual speech has 15 characters a second with blanks and stops, some 12 letters; the sentences that ship with the package have 9 and
10. Deepgram's fastest setting is 1.5 times the usual. Scripts of syllables have fewer letters a second.
"""

HELD_S: Final = 0.1
"""Seconds of audio that a speech must have before any of it is heard: a file's header, or an error of some words, has less."""


def shortest(text: str) -> float:
    """Returns the least seconds in which any voice can say the text. Shorter audio is not the whole text."""
    return sum(character.isalnum() for character in text) / FASTEST


class TooShort(APIError):
    """Raised where a provider's answer looks complete, but its audio is far too short for the text."""

    def __init__(self, seconds: float, text: str) -> None:
        super().__init__(f"expected {shortest(text):.2f} s of audio or more, not {seconds:.2f} s", retryable=False)


async def spoken(engine: tts.TTS[Any], text: str, *, patience: float) -> AsyncIterator[rtc.AudioFrame]:
    """The text, frame by frame, mono at `SAMPLE_RATE`. Raises LiveKit's APIError: also where it is cut off, and TooShort at its end.

    The first `HELD_S` seconds come at once, so that nothing is heard of an answer that has no more. After the first frame
    none is waited for longer than `patience` seconds, then TimeoutError: plugins wait for 30.
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
    """All of what `spoken` gives, for later: a speech that is cut off is begun anew. Raises as `spoken` does."""
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
    """Makes one speech's frames mono at `SAMPLE_RATE`, whatever the engine's rate and channels."""

    def __init__(self) -> None:
        self._resampler: rtc.AudioResampler | None = None

    def of(self, frame: rtc.AudioFrame) -> list[rtc.AudioFrame]:
        """The frame as it is heard; none where its sound comes with a later one."""
        if frame.num_channels != 1:
            frame = _mono(frame)
        if frame.sample_rate == SAMPLE_RATE:
            return [frame]
        if self._resampler is None:
            self._resampler = rtc.AudioResampler(frame.sample_rate, SAMPLE_RATE)
        return self._resampler.push(frame)

    def rest(self) -> list[rtc.AudioFrame]:
        """What has not come yet: the speech is over."""
        return [] if self._resampler is None else self._resampler.flush()


def _mono(frame: rtc.AudioFrame) -> rtc.AudioFrame:
    samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
    return rtc.AudioFrame(samples.mean(axis=1).astype(np.int16).tobytes(), frame.sample_rate, 1, len(samples))


def _check(seconds: float, text: str) -> None:
    if seconds < shortest(text):
        raise TooShort(seconds, text)
