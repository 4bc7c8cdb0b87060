"""firstword.rehearsal.alignment: what is missing of a sound, and where, however it came to the ear. Each case is drawn above its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from firstword.rehearsal.alignment import WINDOW, Alignment, Samples, align
from firstword.rehearsal.providers.voice import duration, speech

TEXT = "Good evening, Ada Lovelace! How can I help you today?"
SENT_RATE, EAR_RATE = 24_000, 48_000
SENT = speech(TEXT, SENT_RATE)
WHOLE = speech(TEXT, EAR_RATE)
LENGTH = duration(TEXT)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * EAR_RATE), np.int16)


def part(begin: float, end: float = LENGTH) -> Samples:
    return WHOLE[round(begin * EAR_RATE) : round(end * EAR_RATE)]


def found(*heard: Samples) -> Alignment:
    """What comes of it where this is heard, one after the other, in a room that is silent before and afterwards."""
    return align(SENT, SENT_RATE, np.concatenate([silence(0.5371), *heard, silence(0.5)]), EAR_RATE)


def missing(*, beginning: float = 0.0, middle: float = 0.0, end: float = 0.0, extra: float = 0.0) -> Alignment:
    """That much is, to within one window each."""

    def about(seconds: float) -> Any:
        return pytest.approx(seconds, abs=1.01 * WINDOW)

    return Alignment(LENGTH, about(beginning), about(middle), about(end), about(extra))


def test_what_arrives_whole_lacks_nothing() -> None:
    """sent ABCDEFGH, heard ABCDEFGH; also at its own rate, and with nothing around it."""
    assert found(WHOLE) == Alignment(LENGTH, 0, 0, 0, 0)
    assert align(SENT, SENT_RATE, SENT, SENT_RATE) == Alignment(LENGTH, 0, 0, 0, 0)


@pytest.mark.parametrize("lost", [0.06, 0.2, 1.0])
def test_a_beginning_that_was_dropped(lost: float) -> None:
    """sent ABCDEFGH, heard ..CDEFGH."""
    assert found(part(lost)) == missing(beginning=lost)
    assert found(silence(lost), part(lost)) == missing(beginning=lost)


@pytest.mark.parametrize("lost", [0.06, 0.2, 1.0])
def test_an_end_that_was_cut_off(lost: float) -> None:
    """sent ABCDEFGH, heard ABCDEF.."""
    assert found(part(0, LENGTH - lost)) == missing(end=lost)


@pytest.mark.parametrize("lost", [0.06, 0.2, 1.0])
def test_a_hole(lost: float) -> None:
    """sent ABCDEFGH, heard ABC..FGH with silence in it, and ABCFGH without."""
    assert found(part(0, 1), silence(lost), part(1 + lost)) == missing(middle=lost)
    assert found(part(0, 1), part(1 + lost)) == missing(middle=lost)


def test_a_pause_that_the_transport_made_takes_nothing_away() -> None:
    """sent ABCDEFGH, heard ABC..DEFGH."""
    assert found(part(0, 1), silence(0.3), part(1)) == missing()


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_said_twice(pause: float) -> None:
    """sent ABCDEFGH, heard ABCDEFGHABCDEFGH: nothing is missing, all of it is too much."""
    assert found(WHOLE, silence(pause), WHOLE) == missing(extra=LENGTH)


def test_begun_anew() -> None:
    """sent ABCDEFGH, heard ABCABCDEFGH: what was said before it began anew is too much."""
    assert found(part(0, 0.8), WHOLE) == missing(extra=0.8)


def test_out_of_order() -> None:
    """sent ABCDEFGH, heard EFGHABCD: the longer part counts, the other is missing where it belongs, and too much where it is."""
    assert found(part(1.4), part(0, 1.4)) == missing(beginning=1.4, extra=1.4)


def test_something_else() -> None:
    """Noise, another voice, silence, nothing: all of it is missing."""
    noise = np.random.default_rng(1).integers(-8_000, 8_000, 3 * EAR_RATE).astype(np.int16)
    assert found(noise) == missing(beginning=LENGTH, extra=3)
    assert found(silence(3)) == missing(beginning=LENGTH)
    assert align(SENT, SENT_RATE, silence(0), EAR_RATE) == missing(beginning=LENGTH)
    assert found(speech("Something that nobody has sent", EAR_RATE)).missing > LENGTH / 2


def test_what_a_codec_and_a_room_do_to_it_counts_as_heard() -> None:
    """Muffled, softer, quantised in bands, with noise 20 dB below it and another sampling instant."""
    distorted = coded(WHOLE)
    assert found(distorted) == missing()
    lost = round(0.2 * EAR_RATE)
    assert found(distorted[lost:]) == missing(beginning=0.2)
    assert found(distorted[: EAR_RATE + 7], distorted[EAR_RATE + 7 + lost :]) == missing(middle=0.2)


def coded(samples: Samples) -> Samples:
    """As Opus leaves it, roughly: frames of 20 ms, each with the coarse spectrum that a listener needs, overlapping by half."""
    size = round(2 * WINDOW * EAR_RATE)
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size)
    padded = np.concatenate([np.zeros(size), samples.astype(np.float64), np.zeros(size)])
    decoded = np.zeros(len(padded))
    for begin in range(0, len(padded) - size, size // 2):
        spectrum = np.fft.rfft(padded[begin : begin + size] * window)
        step = max(np.abs(spectrum).max() / 16, 1)
        spectrum = step * (np.rint(spectrum.real / step) + 1j * np.rint(spectrum.imag / step))
        spectrum[spectrum.size // 3 :] = 0
        decoded[begin : begin + size] += np.fft.irfft(spectrum) * window
    noise = np.random.default_rng(2).normal(0, 30, len(samples))
    return np.rint(0.7 * decoded[size + 5 : size + 5 + len(samples)] + noise).astype(np.int16)


def test_a_jitter_buffer_that_catches_up_takes_out_what_it_takes_out() -> None:
    """Every 200 ms one period of the pitch is cut out, as when too much has been waiting."""
    steps = np.arange(0, LENGTH, 0.2)
    pieces = [part(begin, min(begin + 0.19, LENGTH)) for begin in steps]
    seen = found(*pieces)
    assert (seen.beginning, seen.end) == (pytest.approx(0, abs=WINDOW), pytest.approx(0, abs=WINDOW))
    assert seen.middle <= len(steps) * WINDOW
    assert seen.extra <= len(steps) * WINDOW


def test_silences_that_were_sent_are_not_asked_for() -> None:
    """sent A..B, heard A..B and AB: nothing is missing of either, and of A alone only B."""
    sent = np.concatenate([SENT[:SENT_RATE], np.zeros(SENT_RATE // 2, np.int16), SENT[SENT_RATE:]])
    for pause in (0.5, 0.0):
        heard = np.concatenate([part(0, 1), silence(pause), part(1)])
        assert align(sent, SENT_RATE, heard, EAR_RATE) == missing()
    assert align(sent, SENT_RATE, part(0, 1), EAR_RATE) == missing(end=LENGTH - 1)


def test_a_rate_that_cannot_be_compared_is_refused() -> None:
    """44,100 Hz is no multiple of 8,000 Hz."""
    with pytest.raises(ValueError, match="44100"):
        align(SENT, 44_100, WHOLE, EAR_RATE)
