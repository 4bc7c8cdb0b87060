"""Understands tones in place of speech, for the simulated STT: a tone is a sentence. Pure computing; callers pick a
tone here.

A synthetic caller can't talk, so the pitch of its tone says which sentence it means:

| Hz  | sentence                      | |-----|-------------------------------| | 300 | hello                         |
| 400 | what time is it               | | 500 | tell me about my account      | | 600 | what is the weather like      |
| 700 | thank you and goodbye         |

Whatever else is loud, a person at the microphone too, is `UNCLEAR`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

SENTENCES: Mapping[int, str] = MappingProxyType(
    {
        300: "hello",
        400: "what time is it",
        500: "tell me about my account",
        600: "what is the weather like",
        700: "thank you and goodbye",
    }
)
"""Frequency of a tone in Hz -> the sentence it means."""
UNCLEAR = "I am not sure"
"""The sentence for any other sound."""

_TOLERANCE_HZ = 40
_LOUD = 0.01
"""Root mean square, of full scale (-40 dBFS), above which there is speech."""
_WINDOW = 0.05
"""Seconds judged at once."""
_SHORTEST = 0.1
"""Seconds; what is loud for less is a click."""
_WORD = 0.2
"""Seconds of speech for each further word of an interim transcript."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words understood of an utterance so far, or all of them (`final`). Times are seconds of audio since the stream began."""

    words: tuple[str, ...]
    start: float
    end: float
    final: bool


class Ear:
    """Splits one stream of mono 16-bit little-endian PCM into utterances and says what they mean.

    `sample_rate` in Hz; `silence` is how many seconds of quiet end an utterance.
    """

    def __init__(self, sample_rate: int, silence: float) -> None:
        self._sample_rate = sample_rate
        self._silence = silence
        self._step = 2 * round(_WINDOW * sample_rate)
        self._samples = 0
        self._forget()

    def feed(self, pcm: bytes) -> Iterator[Transcript]:
        """Takes the next audio and yields the transcripts it brings: one interim for each further word, a final one after the silence."""
        for begin in range(0, len(pcm), self._step):
            window = np.frombuffer(pcm[begin : begin + self._step], dtype="<i2")
            at = self._samples / self._sample_rate
            self._samples += len(window)
            if _rms(window) >= _LOUD:
                yield from self._hear(window, at)
            elif self._loud:
                self._quiet += len(window) / self._sample_rate
                if self._quiet >= self._silence:
                    yield from self.finish()

    def finish(self) -> Iterator[Transcript]:
        """Ends the utterance under way and yields its final transcript, if there is one: the stream ends, or won't wait."""
        spoken = self._end - self._start
        words = self._words
        start, end = self._start, self._end
        self._forget()
        if spoken >= _SHORTEST:
            yield Transcript(words, start, end, final=True)

    def _hear(self, window: NDArray[np.int16], at: float) -> Iterator[Transcript]:
        if not self._loud:
            self._start = at
        if at - self._start < 1:  # sentence() needs no more than a second
            self._loud.append(window)
        self._quiet = 0.0
        self._end = self._samples / self._sample_rate
        spoken = self._end - self._start
        understood = min(1 + int(spoken / _WORD), len(self._words))
        if spoken >= _SHORTEST and understood > self._told:
            self._told = understood
            yield Transcript(self._words[:understood], self._start, self._end, final=False)

    @property
    def _words(self) -> tuple[str, ...]:
        return tuple(sentence(np.concatenate(self._loud), self._sample_rate).split()) if self._loud else ()

    def _forget(self) -> None:
        self._loud: list[NDArray[np.int16]] = []
        self._start = self._end = self._quiet = 0.0
        self._told = 0


def sentence(samples: NDArray[np.int16], sample_rate: int) -> str:
    """Returns the sentence whose frequency is nearest to the sound's strongest; `UNCLEAR` where none is within 40 Hz."""
    second = samples[:sample_rate]
    spectrum = np.abs(np.fft.rfft(second * np.hanning(len(second)), n=sample_rate))  # padded to a second: 1 Hz a bin
    strongest = int(np.argmax(spectrum))
    nearest = min(SENTENCES, key=lambda hz: abs(hz - strongest))
    return SENTENCES[nearest] if abs(nearest - strongest) <= _TOLERANCE_HZ else UNCLEAR


def tone(text: str, seconds: float, sample_rate: int) -> NDArray[np.int16]:
    """Returns the tone that means a sentence, mono samples at `sample_rate` Hz. Raises KeyError when the text is not one of `SENTENCES`."""
    hz = {sentence: hz for hz, sentence in SENTENCES.items()}[text]
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.5 * np.iinfo(np.int16).max * np.sin(2 * np.pi * hz * time)).astype(np.int16)


def _rms(samples: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(np.square(samples / np.iinfo(np.int16).max))))
