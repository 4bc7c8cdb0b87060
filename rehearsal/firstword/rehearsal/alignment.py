"""Compares what a caller heard with what was sent: what is missing at the beginning, in the middle and at the end.

Pure computing on mono samples, above nothing: tests and rehearsals give it the agent's audio and the ear's.

What is sent is cut into windows of 20 ms. Each window is looked for at every position of what was heard, by normalised cross-correlation.
The best path through all windows is then found as sequences are aligned in biology (Smith and Waterman, 1981, local alignment with affine
gaps). Windows follow each other in order, and a window may be missing. Each change of the delay costs as much as two windows gain. So a
codec, noise, a jitter buffer that stretches time, and holes do not mislead it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.int16]
Wave: TypeAlias = NDArray[np.float32]

WINDOW: Final = 0.020
"""Seconds: the unit in which sound is found or missing."""
QUIET: Final = 0.005
"""Root mean square below which a window is silence, as a share of full scale: -46 dBFS."""

_RATE: Final = 8_000
"""Hz at which sounds are compared: a voice has most of its energy below 4 kHz."""
_LENGTH: Final = round(WINDOW * _RATE)
_ALIKE: Final = 0.7
"""Correlation from which two windows are taken for the same sound. Noise of any length stays below 0.5."""
_DELAY_CHANGES: Final = 2.0
"""What a change of the delay costs; a window that is found exactly gains 1."""
_OVERLAP: Final = _LENGTH // 2
"""Samples by which a window may begin before the one before it has ended: a jitter buffer that catches up cuts a period out."""
_SOFTEST: Final = 0.1
"""A window that is heard more than 20 dB softer than it was sent is less alike by as much."""
_CONTINUES: Final = -1
_BEGINS: Final = -2


@dataclass(frozen=True, slots=True)
class Alignment:
    """What was heard of a sound that was sent. All in seconds, to 20 ms; silence within what was sent counts nowhere."""

    sent: float
    """Length of the sound that was sent, without its silences."""
    beginning: float
    """Missing before the first window that was heard; all of it where none was."""
    middle: float
    """Missing between windows that were heard."""
    end: float
    """Missing after the last window that was heard."""
    extra: float
    """Sound that was heard and is not what was sent, in its place: said twice, out of order, or somebody else's."""

    @property
    def missing(self) -> float:
        """Returns the seconds of the sound that were not heard."""
        return self.beginning + self.middle + self.end


def align(sent: Samples, sent_rate: int, heard: Samples, heard_rate: int) -> Alignment:
    """Finds the sound `sent` in the sound `heard`, and returns what is missing; the rates are in Hz.

    Raises ValueError for a rate that is no multiple of 8,000 Hz. Takes about a second for ten seconds of sound.
    """
    said, ear = _compared(sent, sent_rate), _compared(heard, heard_rate)
    windows = said.reshape(-1, _LENGTH)
    loud = _rms(windows) >= QUIET
    places = _path(windows, loud, ear)
    found = np.flatnonzero(places >= 0)
    missing = loud & (places < 0)
    first, last = (found[0], found[-1]) if found.size else (len(windows), len(windows))
    return Alignment(
        sent=_seconds(loud),
        beginning=_seconds(missing[:first]),
        middle=_seconds(missing[first:last]),
        end=_seconds(missing[last:]),
        extra=_seconds(_unexplained(ear, places[found])),
    )


def _seconds(windows: NDArray[np.bool_]) -> float:
    return round(int(np.count_nonzero(windows)) * WINDOW, 3)


def _compared(samples: Samples, rate: int) -> Wave:
    """The samples at the rate of comparison, full scale as 1, in whole windows."""
    if rate % _RATE or rate <= 0:
        raise ValueError(f"expected a rate that is a multiple of {_RATE} Hz, not {rate} Hz")
    step = rate // _RATE
    whole = np.zeros(-(-len(samples) // (step * _LENGTH)) * step * _LENGTH, np.float32)
    whole[: len(samples)] = samples
    return (whole.reshape(-1, step).mean(axis=1) / -np.iinfo(np.int16).min).astype(np.float32)


def _rms(windows: Wave) -> Wave:
    return np.sqrt(np.mean(np.square(windows), axis=1))


def _unexplained(ear: Wave, places: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which windows of what was heard are sound, and no part of a window that was found."""
    explained = np.zeros(len(ear), np.bool_)
    for place in places:
        explained[place : place + _LENGTH] = True
    loud = _rms(ear.reshape(-1, _LENGTH)) >= QUIET
    return loud & ~explained.reshape(-1, _LENGTH).any(axis=1)


def _path(windows: Wave, loud: NDArray[np.bool_], ear: Wave) -> NDArray[np.intp]:
    """Where in `ear` each window begins, -1 for one that is not there: the path of the highest score.

    `best[p]` is the score of the best path whose last window begins at p. The path either goes on with the same delay, or
    it comes from any earlier window that ends by then, or it begins here.
    """
    places = np.full(len(windows), -1, np.intp)
    positions = len(ear) - _LENGTH + 1
    if positions < 1:
        return places
    likeness = _Likeness(ear, positions)
    came_from = np.empty((len(windows), positions), np.int32)
    best = np.full(positions, -np.inf, np.float32)
    earlier, origin = np.zeros(positions, np.float32), np.full(positions, _BEGINS, np.int32)
    score, at = 0.0, _BEGINS
    for number, window in enumerate(windows):
        source = origin[_last_record(earlier)]
        score_before = np.maximum.accumulate(earlier) - _DELAY_CHANGES
        ended = np.maximum(np.arange(positions) - _LENGTH + _OVERLAP, 0)
        before, how = score_before[ended], source[ended]
        begins = before <= 0
        before, how = np.where(begins, 0, before), np.where(begins, _BEGINS, how)
        continued = np.concatenate([np.full(min(_LENGTH, positions), -np.inf, np.float32), best[:-_LENGTH]])[:positions]
        continues = continued >= before
        came_from[number] = np.where(continues, _CONTINUES, how)
        gain = likeness.gain(window) if loud[number] else np.zeros(positions, np.float32)
        best = np.where(continues, continued, before) + gain
        better = best > earlier
        earlier, origin = (
            np.where(better, best, earlier),
            np.where(better, number * positions + np.arange(positions), origin),
        )
        if best.max() > score:
            score, at = float(best.max()), number * positions + int(best.argmax())
    while at != _BEGINS:
        number, position = divmod(int(at), positions)
        places[number] = position
        at = came_from[number, position]
        if at == _CONTINUES:
            at = (number - 1) * positions + position - _LENGTH
    return places


def _last_record(scores: Wave) -> NDArray[np.intp]:
    """For each position, where the highest score up to it is."""
    records = scores >= np.maximum.accumulate(scores)
    return np.maximum.accumulate(np.where(records, np.arange(len(scores)), 0))


class _Likeness:
    """How alike a window is to what was heard, at every position."""

    def __init__(self, ear: Wave, positions: int) -> None:
        self._positions = positions
        self._size = 1 << (len(ear) + _LENGTH).bit_length()
        self._spectrum = np.fft.rfft(ear, self._size)
        energy = np.concatenate([[0.0], np.cumsum(np.square(ear, dtype=np.float64))])
        self._norm = np.sqrt(np.maximum(energy[_LENGTH:] - energy[:-_LENGTH], 0.0))

    def gain(self, window: Wave) -> Wave:
        """1 where it is the same, 0 where it is just alike enough, -1 at the least."""
        norm = float(np.linalg.norm(window))
        product = np.fft.irfft(self._spectrum * np.conj(np.fft.rfft(window, self._size)), self._size)[: self._positions]
        correlation = product / (norm * np.maximum(self._norm, _SOFTEST * norm))
        return np.clip((correlation - _ALIKE) / (1 - _ALIKE), -1, 1).astype(np.float32)
