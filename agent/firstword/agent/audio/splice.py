"""Joins a cached opening and the personal part that is still being synthesised, so that they sound like one speech.

Between the audio cache or TTS and the playout; pure functions on mono int16 samples, and the one generator that waits.

The opening is a whole sentence ("Good morning!"), the personal part the next ("Ada, how can I help you?"): a voice may
start anew there. The silence that TTS puts at either end would be a pause of some 100 ms. It is cut to 10 ms, and the
two overlap by as much. The opening has to last as long as the synthesis takes. If it does not, the caller hears a pause
between two sentences, faded out and in. No noise fills it: a codec and its noise gate would make it pump.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

Samples = NDArray[np.int16]

QUIET: Final = 0.005
"""Peak below which a sample is silence, as a share of full scale: -46 dBFS."""
KEEP: Final = 0.010
"""Seconds of silence kept at a cut end, so that no soft onset is lost."""
OVERLAP: Final = 0.010
"""Seconds of the crossfade."""
MARGIN: Final = 0.060
"""Seconds before the opening's end at which the next frames must be on their way to the caller."""
_FULL_SCALE: Final = 32768


@dataclass(frozen=True, slots=True)
class Joint:
    """How the opening and what followed it were joined: the pause between them, and why the second part isn't the
    personal one.
    """

    pause: float
    """Seconds by which the second part came too late; 0 when it was there in time."""
    error: Exception | None
    """Why the second part isn't the personal one: its own error, TimeoutError or Silent. None if it is."""


class Silent(Exception):
    """Raised where the personal part of a greeting has no sound."""


def trimmed(samples: Samples, rate: int, *, quiet: float = QUIET, keep: float = KEEP) -> Samples:
    """Returns the samples without the silence at both ends, except for `keep` seconds of it. Returns none if all is
    silence.

    rate: Hz. quiet: peak below which a sample is silence, as a share of full scale.
    """
    loud = np.flatnonzero(_loud(samples, quiet))
    if not loud.size:
        return samples[:0]
    kept = round(keep * rate)
    return samples[max(int(loud[0]) - kept, 0) : int(loud[-1]) + 1 + kept]


def crossfaded(first: Samples, second: Samples, overlap: int) -> Samples:
    """Returns both sounds as one: the last `overlap` samples of the first fade out while the first ones of the second
    fade in.

    The fade keeps equal power, as the two are different sounds. It is never longer than either sound.
    """
    overlap = min(overlap, len(first), len(second))
    rising = _rising(overlap)
    mixed = first[len(first) - overlap :] * rising[::-1] + second[:overlap] * rising
    return np.concatenate([first[: len(first) - overlap], _int16(mixed), second[overlap:]])


def samples_of(frames: Iterable[rtc.AudioFrame], rate: int) -> Samples:
    """Returns the samples of all frames, joined. Raises ValueError if a frame isn't mono at `rate` Hz."""
    pieces = [np.zeros(0, np.int16)]
    for frame in frames:
        if frame.num_channels != 1 or frame.sample_rate != rate:
            raise ValueError(f"expected mono frames at {rate} Hz")
        pieces.append(np.frombuffer(frame.data, np.int16))
    return np.concatenate(pieces)


def frames_of(samples: Samples, rate: int) -> list[rtc.AudioFrame]:
    """Returns the samples as frames of 20 ms. The last frame has what is left."""
    step = rate // 50
    pieces = (samples[start : start + step] for start in range(0, len(samples), step))
    return [rtc.AudioFrame(piece.tobytes(), rate, 1, len(piece)) for piece in pieces]


async def joined(
    opening: Sequence[rtc.AudioFrame],
    personal: AsyncIterator[rtc.AudioFrame],
    *,
    patience: float = math.inf,
    otherwise: Sequence[rtc.AudioFrame] = (),
    told: Callable[[Joint], None] | None = None,
) -> AsyncGenerator[rtc.AudioFrame]:
    """Yields the opening and the personal part as one speech. Playing is taken to begin when the first frame is asked
    for.

    If the personal part fails, or has not begun `patience` seconds after the opening's end, `otherwise` follows in its
    place. An error after its first sound is raised. `told` is called with how it went before the first frame of the
    second part. Raises ValueError if the opening has no frames, or they aren't mono and of one rate.
    """
    if not opening:
        raise ValueError("an opening of no frames")
    rate = opening[0].sample_rate
    first = trimmed(samples_of(opening, rate), rate)
    head, tail = np.split(first, [max(len(first) - round(OVERLAP * rate), 0)])
    loop = asyncio.get_running_loop()
    over = loop.time() + len(first) / rate
    onset = asyncio.ensure_future(_onset(personal, rate))
    try:
        for frame in frames_of(head, rate):
            yield frame
        in_time = await _ended(onset, over - MARGIN - loop.time())
        if not in_time:
            for frame in frames_of(_faded(tail, fade_in=False), rate):
                yield frame
            await _ended(onset, over + patience - loop.time())
        following, error = _result(onset)
        if error is not None:
            following = trimmed(samples_of(otherwise, rate), rate)
        if told is not None:
            told(Joint(0.0 if in_time else max(loop.time() - over, 0.0), error))
        overlap = min(round(OVERLAP * rate), len(following))
        if not len(following):
            second = _faded(tail, fade_in=False) if in_time else following
        elif in_time:
            second = crossfaded(tail, following, overlap)
        else:
            second = np.concatenate([_faded(following[:overlap], fade_in=True), following[overlap:]])
        for frame in frames_of(second, rate):
            yield frame
        if error is None:
            async for frame in personal:
                yield frame
    finally:
        onset.cancel()
        await asyncio.gather(onset, return_exceptions=True)  # whoever closes `personal` finds no step of it under way


async def _onset(personal: AsyncIterator[rtc.AudioFrame], rate: int) -> Samples:
    """The personal part up to the end of the frame with its first sound, without silence before it; empty without any."""
    heard = np.zeros(0, np.int16)
    async for frame in personal:
        heard = np.concatenate([heard, samples_of([frame], rate)])
        sound = _from_first_sound(heard, rate)
        if len(sound) >= round(OVERLAP * rate):  # what sets in at a frame's very end has something to fade in over
            return sound
    return _from_first_sound(heard, rate)


def _from_first_sound(samples: Samples, rate: int) -> Samples:
    loud = np.flatnonzero(_loud(samples, QUIET))
    return samples[max(int(loud[0]) - round(KEEP * rate), 0) :] if loud.size else samples[:0]


async def _ended(onset: asyncio.Future[Samples], seconds: float) -> bool:
    """Whether it ended within so many seconds; it is looked at once even where there are none left."""
    if not onset.done():
        await asyncio.wait({onset}, timeout=None if math.isinf(seconds) else max(seconds, 0.0))
    return onset.done()


def _result(onset: asyncio.Future[Samples]) -> tuple[Samples, Exception | None]:
    """The personal part's beginning; none of it, and why, when it isn't there, has failed, or is silence."""
    nothing = np.zeros(0, np.int16)
    if not onset.done():
        return nothing, TimeoutError()
    try:
        return onset.result(), None if len(onset.result()) else Silent()
    except Exception as error:  # the TTS's own, whichever provider it is
        return nothing, error


def _loud(samples: Samples, quiet: float) -> NDArray[np.bool_]:
    return np.abs(samples.astype(np.int32)) >= quiet * _FULL_SCALE  # -32768 has no int16 of its size


def _faded(samples: Samples, *, fade_in: bool) -> Samples:
    rising = _rising(len(samples))
    return _int16(samples * (rising if fade_in else rising[::-1]))


def _rising(length: int) -> NDArray[np.float64]:
    return np.sin(np.linspace(0, np.pi / 2, length))


def _int16(samples: NDArray[np.float64]) -> Samples:
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(samples), limits.min, limits.max).astype(np.int16)
