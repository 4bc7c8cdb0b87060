"""firstword.agent.audio.splice: an opening and the personal part are one speech, without click or gap, whenever the second comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import rtc

from firstword.agent.audio.splice import (
    KEEP,
    OVERLAP,
    QUIET,
    Joint,
    Samples,
    Silent,
    crossfaded,
    frames_of,
    joined,
    samples_of,
    trimmed,
)
from firstword.rehearsal.providers.voice import speech
from tests.agent.sound import clicks, largest_gap

RATE = 24_000
OPENING = speech("Good morning!", RATE)
PERSONAL = speech("Ada, how can I help you today?", RATE)
GENERIC = speech("How can I help you?", RATE)
TARGET = 0.060
"""Seconds: no longer gap than this."""
LEVEL = QUIET * 32768


def sine(seconds: float, hertz: float, level: float = 0.5, phase: float = 0.0) -> Samples:
    time = np.arange(round(seconds * RATE)) / RATE
    return (np.sin(2 * np.pi * hertz * time + phase) * level * 32767).astype(np.int16)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.int16)


@st.composite
def waves(draw: st.DrawFn) -> Samples:
    seconds, hertz = draw(st.floats(0.005, 0.2)), draw(st.floats(60, 2000))
    return sine(seconds, hertz, level=draw(st.floats(0.05, 1)), phase=draw(st.floats(0, 6.3)))


@st.composite
def silences(draw: st.DrawFn) -> Samples:
    return silence(draw(st.floats(0, 0.3)))


def joined_up(*parts: Samples) -> Samples:
    return np.concatenate(parts)


def onset(samples: Samples) -> Samples:
    """The same, rising over 5 ms."""
    rising = np.minimum(np.arange(len(samples)) / (0.005 * RATE), 1)
    return (samples * rising).astype(np.int16)


def largest_step(samples: Samples) -> float:
    return float(np.abs(np.diff(samples.astype(np.int32))).max(initial=0))


# --- cutting


@given(silences(), waves(), silences())
def test_only_silence_is_cut_and_a_little_of_it_kept(before: Samples, wave: Samples, after: Samples) -> None:
    """Every loud sample is there, in order, with at most `KEEP` seconds of quiet around them."""
    cut = trimmed(joined_up(before, wave, after), RATE)
    loud = np.flatnonzero(np.abs(cut.astype(np.int32)) >= LEVEL)
    assert (cut[loud] == wave[np.abs(wave.astype(np.int32)) >= LEVEL]).all()
    if loud.size:
        assert loud[0] <= round(KEEP * RATE)
        assert len(cut) - 1 - loud[-1] <= round(KEEP * RATE)
    else:
        assert not len(cut)


def test_of_silence_nothing_is_left() -> None:
    """And the faintest noise is silence too."""
    assert not len(trimmed(silence(0.1), RATE))
    assert not len(trimmed(sine(0.1, 200, level=QUIET * 0.9), RATE))


# --- crossfading


@given(waves(), waves(), st.integers(0, 480))
def test_a_crossfade_is_as_long_as_both_less_the_overlap(first: Samples, second: Samples, overlap: int) -> None:
    """Outside of the overlap both are as they were."""
    shared = min(overlap, len(first), len(second))
    both = crossfaded(first, second, overlap)
    assert len(both) == len(first) + len(second) - shared
    assert (both[: len(first) - shared] == first[: len(first) - shared]).all()
    assert (both[len(first) :] == second[shared:]).all()


@given(waves(), waves())
def test_a_crossfade_jumps_no_more_than_its_parts_do(first: Samples, second: Samples) -> None:
    """A step in it is at most both parts' own at once, and what the gains change in a sample."""
    overlap = min(round(OVERLAP * RATE), len(first), len(second))
    both = crossfaded(first, second, overlap)
    peaks = float(np.abs(first.astype(np.int32)).max()) + float(np.abs(second.astype(np.int32)).max())
    gain_step = np.pi / 2 / max(overlap - 1, 1)
    assert largest_step(both) <= np.sqrt(2) * (largest_step(first) + largest_step(second)) + peaks * gain_step + 2


def test_a_crossfade_of_full_scale_does_not_wrap_around() -> None:
    """Two equal sounds are louder together than int16 can say."""
    loud = sine(0.05, 200, level=1.0)
    both = crossfaded(loud, loud, len(loud))
    assert both.max() == 32767
    assert not clicks(both, RATE).size


# --- measuring


@given(waves(), st.floats(0.03, 0.3), waves())
def test_the_largest_gap_is_the_silence_between_sounds(first: Samples, seconds: float, second: Samples) -> None:
    """To the samples at which a wave crosses zero; silence before and after doesn't count."""
    gap = largest_gap(joined_up(silence(0.5), first, silence(seconds), second, silence(0.5)), RATE)
    if np.abs(first.astype(np.int32)).max() >= LEVEL <= np.abs(second.astype(np.int32)).max():
        assert seconds - 1 / RATE <= gap <= seconds + 0.01


def test_silence_and_a_single_sound_have_no_gap() -> None:
    """There is nothing it could lie between."""
    assert largest_gap(silence(1), RATE) == 0
    assert largest_gap(np.array([20_000], np.int16), RATE) == 0


@given(st.floats(100, 1000), st.floats(0.1, 0.5), st.integers(500, 4000))
def test_a_wave_broken_at_a_peak_clicks_there(hertz: float, level: float, near: int) -> None:
    """A continuous one doesn't."""
    wave = sine(0.2, hertz, level)
    assert not clicks(wave, RATE).size
    at = near + int(np.argmax(wave[near : near + RATE // 100 + 240]))
    assert clicks(joined_up(wave[:at], -wave[at:]), RATE).tolist() in ([at], [at, at + 1])


def test_a_voice_that_is_cut_off_or_sets_in_at_full_level_clicks() -> None:
    """That is what joining without a fade would sound like."""
    assert clicks(joined_up(silence(0.1), PERSONAL), RATE).size
    assert clicks(joined_up(OPENING[:2400], silence(0.1)), RATE).size
    assert not clicks(OPENING, RATE).size


# --- joining


class Tts:
    """A personal part that comes after a while, in frames of its own size; and fails where it is told to."""

    def __init__(self, samples: Samples, *, after: float = 0.0, frame: int = 441, fail_at: int | None = None) -> None:
        self.closed = False
        self._frames = [samples[start : start + frame] for start in range(0, len(samples), frame)]
        self._after = after
        self._fail_at = fail_at

    async def __call__(self) -> AsyncIterator[rtc.AudioFrame]:
        try:
            await asyncio.sleep(self._after)
            for number, piece in enumerate(self._frames):
                if number == self._fail_at:
                    raise ConnectionResetError
                yield rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece))
        finally:
            self.closed = True


async def heard(
    opening: Samples, tts: Tts, *, patience: float = 5.0, otherwise: Samples | None = None
) -> tuple[Samples, Joint]:
    """What a player that takes frames as fast as it gets them has been given, and how it was joined."""
    told: list[Joint] = []
    rest: Sequence[rtc.AudioFrame] = () if otherwise is None else frames_of(otherwise, RATE)
    async with aclosing(
        joined(frames_of(opening, RATE), tts(), patience=patience, otherwise=rest, told=told.append)
    ) as whole:
        frames = [frame async for frame in whole]
    (joint,) = told
    return samples_of(frames, RATE), joint


@pytest.mark.parametrize("lead", [0.0, 0.09])
@pytest.mark.parametrize("trail", [0.0, 0.12])
@pytest.mark.parametrize("frame", [37, 441, 100_000])
async def test_in_time_both_are_one_speech_without_click_or_gap(lead: float, trail: float, frame: int) -> None:
    """Whatever silence TTS puts around them, and however it cuts its frames."""
    personal = joined_up(silence(lead), onset(PERSONAL)) if lead else PERSONAL  # a voice rises out of silence
    sound, joint = await heard(joined_up(OPENING, silence(trail)), Tts(personal, frame=frame))
    assert joint == Joint(pause=0.0, error=None)
    assert not clicks(sound, RATE).size
    assert largest_gap(sound, RATE) < TARGET / 2
    assert abs(len(sound) - len(OPENING) - len(PERSONAL)) <= round((2 * KEEP + OVERLAP) * RATE)
    assert (sound[-len(PERSONAL) // 2 :] == PERSONAL[-len(PERSONAL) // 2 :]).all()


async def test_a_personal_part_that_comes_while_the_opening_plays_is_in_time() -> None:
    """A player that is ahead of its listener is not one that has run dry."""
    sound, joint = await heard(OPENING, Tts(PERSONAL, after=0.3))
    assert joint.pause == 0
    assert largest_gap(sound, RATE) < TARGET


async def test_a_late_personal_part_follows_after_a_pause_without_a_click() -> None:
    """The pause is told, so that the trace can show it; the opening is not held back for it."""
    short = OPENING[: RATE // 10]
    tts = Tts(PERSONAL, after=0.4)
    told: list[Joint] = []
    frames: list[rtc.AudioFrame] = []
    given_before = 0
    async with aclosing(joined(frames_of(short, RATE), tts(), told=told.append)) as whole:
        async for frame in whole:
            frames.append(frame)
            given_before += not told and frame.samples_per_channel
    assert given_before == len(short)
    (joint,) = told
    assert joint.error is None
    assert joint.pause > 0.2
    # the player has nothing in the pause: a listener gets silence
    sound = samples_of(frames, RATE)
    assert not clicks(joined_up(sound[:given_before], silence(joint.pause), sound[given_before:]), RATE).size


async def test_a_personal_part_that_does_not_come_is_replaced() -> None:
    """Within patience: the caller is not left with half a greeting. The one who synthesises can then be closed."""
    tts = Tts(PERSONAL, after=60)
    sound, joint = await heard(OPENING[: RATE // 5], tts, patience=0.05, otherwise=GENERIC)
    assert isinstance(joint.error, TimeoutError)
    assert tts.closed
    assert (sound[-len(GENERIC) // 2 :] == GENERIC[-len(GENERIC) // 2 :]).all()
    assert not clicks(sound, RATE).size


@pytest.mark.parametrize(
    ("tts", "error"),
    [
        (Tts(PERSONAL, fail_at=0), ConnectionResetError),
        (Tts(joined_up(silence(0.1), PERSONAL), fail_at=2), ConnectionResetError),
        (Tts(silence(0.5)), Silent),
        (Tts(silence(0)), Silent),
    ],
)
async def test_a_personal_part_that_fails_before_its_first_sound_is_replaced(tts: Tts, error: type[Exception]) -> None:
    """In time, so without a pause; and where there is nothing to say instead, the opening ends softly."""
    sound, joint = await heard(OPENING, tts, otherwise=GENERIC)
    assert (joint.pause, type(joint.error)) == (0.0, error)
    assert not clicks(sound, RATE).size
    assert largest_gap(sound, RATE) < TARGET


async def test_with_nothing_to_say_instead_the_opening_ends_softly() -> None:
    """Also where it was cut in the middle of a sound."""
    sound, joint = await heard(OPENING[: RATE // 2], Tts(silence(0)))
    assert isinstance(joint.error, Silent)
    assert len(sound) == RATE // 2
    assert abs(int(sound[-1])) < LEVEL
    assert not clicks(sound, RATE).size


async def test_an_error_in_the_middle_of_the_personal_part_is_passed_on() -> None:
    """What was said can't be taken back: the session decides how to go on."""
    tts = Tts(PERSONAL, fail_at=10)
    with pytest.raises(ConnectionResetError):
        await heard(OPENING, tts, otherwise=GENERIC)


async def test_a_speech_that_is_interrupted_leaves_nothing_running() -> None:
    """The caller speaks during the opening: the synthesis is let go."""
    tts = Tts(PERSONAL, after=60)
    async with aclosing(joined(frames_of(OPENING, RATE), tts())) as whole:
        async for _ in whole:
            await asyncio.sleep(0)
            break
    assert tts.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_opening_must_be_there_and_of_one_kind() -> None:
    """Else it is no cached audio of ours."""
    for wrong in ([], [rtc.AudioFrame.create(RATE, 1, 480), rtc.AudioFrame.create(48_000, 1, 960)]):
        with pytest.raises(ValueError, match=r"no frames|mono frames"):
            await anext(joined(wrong, Tts(PERSONAL)()))
