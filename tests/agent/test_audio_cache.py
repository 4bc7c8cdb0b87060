"""firstword.agent.greeting.audio_cache: a greeting that was spoken once is there again, sample for sample, until its days are over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from livekit import rtc

from firstword.agent.audio.splice import frames_of, samples_of
from firstword.agent.cache.cache import Cache
from firstword.agent.cache.sqlite import SQLiteFile
from firstword.agent.greeting.audio_cache import BOUNDS, AudioCache, CachedSpeech
from firstword.agent.greeting.text import DayPart
from firstword.rehearsal.providers.voice import speech

RATE = 24_000
ADA = CachedSpeech("1001", "aura-2-andromeda-en", "Good morning, Ada! How can I help you today?", DayPart.MORNING, RATE)
AUDIO = speech(ADA.text, RATE)


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cache(tmp_path: Path, clock: Clock) -> AsyncIterator[AudioCache]:
    async with aclosing(Cache(SQLiteFile(tmp_path, "audio", BOUNDS, now=clock), deadline=60)) as kept:
        yield AudioCache(kept, days=7)


async def test_what_was_spoken_is_found_sample_for_sample(cache: AudioCache) -> None:
    """In frames of 20 ms, whatever the frames were that TTS made."""
    assert await cache.put(ADA, [rtc.AudioFrame(AUDIO.tobytes(), RATE, 1, len(AUDIO))])
    found = await cache.get(ADA)
    assert found is not None
    assert {frame.samples_per_channel for frame in found} == {RATE // 50}
    assert (samples_of(found, RATE) == AUDIO).all()


@pytest.mark.parametrize(
    "other",
    [
        replace(ADA, account="1002"),
        replace(ADA, voice="aura-2-aurelia-de"),
        replace(ADA, text="Good morning!"),
        replace(ADA, day_part=DayPart.EVENING),
        replace(ADA, day_part=None),
        replace(ADA, sample_rate=48_000),
    ],
)
async def test_another_account_voice_text_day_part_or_rate_is_another_speech(
    cache: AudioCache, other: CachedSpeech
) -> None:
    """Nobody is greeted with another's name, nor in the evening with a good morning."""
    await cache.put(ADA, frames_of(AUDIO, RATE))
    assert await cache.get(other) is None


async def test_personal_audio_is_not_played_after_its_days(cache: AudioCache, clock: Clock) -> None:
    """To the second."""
    await cache.put(ADA, frames_of(AUDIO, RATE))
    clock.now += 7 * 86_400 - 1
    assert await cache.get(ADA)
    clock.now += 1
    assert await cache.get(ADA) is None


async def test_the_silence_around_it_is_not_kept(cache: AudioCache) -> None:
    """The tenth of a second that TTS puts before a speech would come before each caller's first word."""
    silence = np.zeros(RATE // 10, np.int16)
    assert await cache.put(ADA, frames_of(np.concatenate([silence, AUDIO, silence]), RATE))
    found = await cache.get(ADA)
    assert found is not None
    loud = np.flatnonzero(samples_of(found, RATE))
    assert 0 < loud[0] <= 0.010 * RATE  # soft onsets keep theirs
    assert len(AUDIO) < len(samples_of(found, RATE)) <= len(AUDIO) + 2 * 0.010 * RATE


@pytest.mark.parametrize("audio", [[], frames_of(np.zeros(RATE, np.int16), RATE)], ids=["none", "silence"])
async def test_nothing_is_not_kept_as_audio(cache: AudioCache, audio: list[rtc.AudioFrame]) -> None:
    """A caller would be greeted with silence for a week."""
    assert not await cache.put(ADA, audio)
    assert await cache.get(ADA) is None


@pytest.mark.parametrize("frame", [rtc.AudioFrame.create(48_000, 1, 480), rtc.AudioFrame.create(RATE, 2, 480)])
async def test_frames_of_another_kind_are_refused(cache: AudioCache, frame: rtc.AudioFrame) -> None:
    """They would be played too fast or as noise."""
    with pytest.raises(ValueError, match="mono frames at 24000 Hz"):
        await cache.put(ADA, [frame])


async def test_a_cache_that_is_not_there_is_a_miss(tmp_path: Path) -> None:
    """The greeting is then synthesised."""
    (tmp_path / "file").touch()
    async with aclosing(Cache(SQLiteFile(tmp_path / "file", "audio", BOUNDS), deadline=60)) as kept:
        cache = AudioCache(kept, days=7)
        assert not await cache.put(ADA, frames_of(AUDIO, RATE))
        assert await cache.get(ADA) is None
