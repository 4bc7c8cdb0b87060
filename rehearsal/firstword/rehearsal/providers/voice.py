"""Makes the sound of the simulated voice, which the TTS simulators send. Pure computing, below `deepgram.py`.

One syllable of 200 ms stands for three characters (15 characters a second). It is voice-like: harmonics of a pitch,
swelling once a syllable. The characters choose the pitch, so that a text has a melody: what is missing of it can be
told by ear. A syllable is a whole number of periods of its pitch, so syllables join without a click. It is loud from
the first sample on and never silent, so that the instant a caller hears it can be measured.
"""

from __future__ import annotations

import functools
import math
import zlib

import numpy as np
from numpy.typing import NDArray

SYLLABLE = 0.2
"""Length of a syllable, in seconds."""
CHARACTERS_PER_SYLLABLE = 3

_PITCHES_HZ = range(150, 250, 5)
"""Each has a whole number of periods in a syllable. Lower ones lose their phase on the way, as WebRTC filters what is low."""
_HARMONICS = (0.17, 0.13, 0.10, 0.06, 0.04)
"""Amplitudes of the pitch and its multiples; cosines, so that the first sample is their sum: -6 dBFS."""
_FADE = 0.01
"""Seconds at the very end."""


def duration(text: str) -> float:
    """Returns how many seconds the voice takes to say a text; 0 for an empty one."""
    return _syllables(text) * SYLLABLE


def ends_sentence(text: str) -> bool:
    """Returns whether a streamed text ends a sentence: the voice waits for that, or for a flush, before it speaks."""
    return text.rstrip().endswith((".", "!", "?"))


def speech(text: str, sample_rate: int) -> NDArray[np.int16]:
    """Returns the voice saying a text, as mono samples at `sample_rate` Hz."""
    said = text.strip()
    syllables = (said[at : at + CHARACTERS_PER_SYLLABLE] for at in range(0, len(said), CHARACTERS_PER_SYLLABLE))
    samples = np.concatenate([np.zeros(0), *(_syllable(_pitch(each), sample_rate) for each in syllables)])
    fade = min(int(_FADE * sample_rate), len(samples))
    samples[len(samples) - fade :] *= np.linspace(1, 0, fade)
    return (samples * np.iinfo(np.int16).max).astype(np.int16)


def _syllables(text: str) -> int:
    return math.ceil(len(text.strip()) / CHARACTERS_PER_SYLLABLE)


def _pitch(characters: str) -> int:
    return _PITCHES_HZ[zlib.crc32(characters.encode()) % len(_PITCHES_HZ)]


@functools.cache
def _syllable(pitch_hz: int, sample_rate: int) -> NDArray[np.float64]:
    time = np.arange(round(SYLLABLE * sample_rate)) / sample_rate
    swell = 0.65 + 0.35 * np.cos(2 * np.pi * time / SYLLABLE)
    harmonics = [
        amplitude * np.cos(2 * np.pi * multiple * pitch_hz * time) for multiple, amplitude in enumerate(_HARMONICS, 1)
    ]
    return swell * np.sum(harmonics, axis=0)
