"""The greeting's sound: played from its beginning at any time, from the cache where it is there, joined where a part is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from livekit import rtc
from livekit.agents import APIConnectionError
from livekit.agents.utils import http_context

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import GENERIC, GreetingFields
from firstword.agent.audio.refusals import Refusals
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.audio.splice import Samples, frames_of, samples_of, trimmed
from firstword.agent.audio.synthesis import Synthesis, synthesis
from firstword.agent.cache.cache import Cache
from firstword.agent.cache.sqlite import SQLiteFile
from firstword.agent.greeting.audio_cache import BOUNDS, AudioCache, CachedSpeech
from firstword.agent.greeting.greeting import SHIPPED_TEXT, Audio, PreparedGreeting, keep, make_ahead, prepared, shipped
from firstword.agent.greeting.text import GreetingText, greeting_text, opening_of
from firstword.rehearsal.providers import voice
from tests.agent.providers import made, simulated
from tests.agent.sound import clicks, largest_gap

ADA = ACCOUNTS[0]
NOON = 1_790_000_000.0
WRITTEN = greeting_text(ADA, NOON)
OPENING = opening_of(ADA, WRITTEN) or ""
TONE = frames_of(voice.speech("Hello there", SAMPLE_RATE), SAMPLE_RATE)


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[AudioCache]:
    kept = Cache(SQLiteFile(tmp_path, "audio", BOUNDS), deadline=60)
    await kept.prepare()
    yield AudioCache(kept, days=7)
    await kept.aclose()


@pytest.fixture
async def speaker(tmp_path: Path) -> AsyncIterator[Synthesis]:
    """The real plugins, with the simulators behind them."""
    async with simulated(tmp_path) as settings:
        built = synthesis(settings, Refusals(None))
        yield built
        await built.aclose()


@pytest.fixture
async def refused(tmp_path: Path, speaker: Synthesis) -> AsyncIterator[Synthesis]:
    """The real plugins; nobody answers."""
    built = synthesis(made(tmp_path, DEEPGRAM_BASE_URL="http://127.0.0.1:9/v1"), Refusals(None))
    yield built
    await built.aclose()


def samples(frames: Sequence[rtc.AudioFrame]) -> Samples:
    return samples_of(frames, SAMPLE_RATE)


async def prepare(cache: AudioCache, speaker: Synthesis, account: GreetingFields = ADA) -> PreparedGreeting:
    return await prepared(_written(account), account, speaker, account.voice or "default", cache, deadline=60)


def _written(account: GreetingFields) -> GreetingText:
    return greeting_text(account, NOON)


def _speech(text: str, account: str = "") -> CachedSpeech:
    return CachedSpeech(account, ADA.voice, text, WRITTEN.day_part, SAMPLE_RATE)


async def whole(greeting: PreparedGreeting) -> Samples:
    assert greeting.audio is not None
    return samples(await greeting.audio.whole())


async def _words(greeting: PreparedGreeting) -> str:
    return greeting.said if isinstance(greeting.said, str) else "".join([word async for word in greeting.said])


# --- sound that is still coming


async def test_it_plays_from_its_beginning_twice_while_it_comes() -> None:
    """Who comes in the middle hears all of it, and so does who was there before."""
    gate = asyncio.Event()

    async def source() -> AsyncGenerator[rtc.AudioFrame]:
        for frame in TONE[1:4]:
            yield frame
        await gate.wait()
        for frame in TONE[4:]:
            yield frame

    audio = Audio(TONE[:1], source())
    first, second = audio.play(), audio.play()
    heard = [await anext(first) for _ in range(4)]
    assert heard == TONE[:4]
    assert await anext(second) is TONE[0]
    waiting = [asyncio.ensure_future(anext(first)), asyncio.ensure_future(audio.whole())]
    await asyncio.sleep(0)
    gate.set()
    assert await waiting[0] is TONE[4]
    assert await waiting[1] == TONE
    assert [frame async for frame in second] == TONE[1:]
    assert await audio.whole() == TONE


async def test_an_error_before_the_first_frame_reaches_everybody_who_plays() -> None:
    """Each time, and whoever wants the whole."""
    audio = Audio(source=_failing())
    for _ in range(2):
        with pytest.raises(LookupError):
            await anext(audio.play())
    with pytest.raises(LookupError):
        await audio.whole()


async def test_after_an_error_in_the_middle_the_shipped_greeting_follows() -> None:
    """A caller is not left with half a greeting; the words say what was said, and why."""
    audio = Audio()
    audio.add_words("Good morning, Ada!")
    audio.read(_failing(*TONE[:3]))
    assert samples(await audio.whole()).tolist() == [*samples(TONE[:3]), *await whole(shipped())]
    assert [word async for word in audio.words()] == ["Good morning, Ada!", f" {SHIPPED_TEXT}"]
    assert isinstance(await audio.failure(), LookupError)


async def _failing(*frames: rtc.AudioFrame) -> AsyncGenerator[rtc.AudioFrame]:
    for frame in frames:
        yield frame
    raise LookupError("no more")


@pytest.mark.parametrize("begun", [False, True])
async def test_closing_ends_it_for_who_plays(begun: bool) -> None:
    """Also before the source was begun; what was cut short is never taken for the whole."""
    closed = asyncio.Event()

    async def source() -> AsyncGenerator[rtc.AudioFrame]:
        try:
            await asyncio.Event().wait()
            yield TONE[1]
        finally:
            closed.set()

    audio = Audio(TONE[:1], source())
    playing = audio.play()
    assert await anext(playing) is TONE[0]
    if begun:
        await asyncio.sleep(0)
    next_frame = asyncio.ensure_future(anext(playing, None))
    await audio.aclose()
    assert await next_frame is None
    assert closed.is_set() == begun
    with pytest.raises(asyncio.CancelledError):
        await audio.whole()
    await Audio(TONE).aclose()


# --- from the cache, or not


async def test_a_greeting_that_was_made_is_a_hit(cache: AudioCache, speaker: Synthesis) -> None:
    """Sample for sample, without a word to the TTS, and nothing is missing."""
    sound = voice.speech("anything that is long enough for it", SAMPLE_RATE)
    await cache.put(_speech(WRITTEN.text, ADA.id), frames_of(sound, SAMPLE_RATE))
    greeting = await prepare(cache, speaker)
    assert (greeting.hit, greeting.missing, greeting.text) == (True, (), WRITTEN.text)
    assert (await whole(greeting) == sound).all()


async def test_a_miss_begins_with_the_opening_and_goes_on_without_gap_or_click(
    cache: AudioCache, speaker: Synthesis
) -> None:
    """It is kept for the next call, which is a hit and the same sound."""
    speaker.speak_as(ADA.voice)
    await cache.put(_speech(OPENING), frames_of(voice.speech(OPENING, SAMPLE_RATE), SAMPLE_RATE))
    greeting = await prepare(cache, speaker)
    assert (greeting.hit, [speech.text for speech in greeting.missing]) == (False, [WRITTEN.text])
    heard = await whole(greeting)
    assert largest_gap(heard, SAMPLE_RATE) <= 0.060
    assert not clicks(heard, SAMPLE_RATE).size
    parts_alone = voice.duration(OPENING) + voice.duration(WRITTEN.text.removeprefix(OPENING.rstrip("!")).lstrip(" ,"))
    assert len(heard) / SAMPLE_RATE == pytest.approx(parts_alone, abs=0.05)
    assert await _words(greeting) == WRITTEN.text
    assert greeting.audio is not None
    assert await greeting.audio.failure() is None
    await keep(greeting, speaker, cache)
    again = await prepare(cache, speaker)
    assert again.hit
    assert (await whole(again) == trimmed(heard, SAMPLE_RATE)).all()


async def test_a_miss_of_both_is_spoken_and_both_are_kept(cache: AudioCache, speaker: Synthesis) -> None:
    """The first caller of a voice pays for the opening of all others."""
    speaker.speak_as(ADA.voice)
    greeting = await prepare(cache, speaker)
    assert [speech.text for speech in greeting.missing] == [WRITTEN.text, OPENING]
    heard = await whole(greeting)
    assert len(heard) / SAMPLE_RATE == pytest.approx(voice.duration(WRITTEN.text), abs=0.05)
    await keep(greeting, speaker, cache)
    assert (await prepare(cache, speaker)).hit
    assert await cache.get(_speech(OPENING)) is not None


async def test_what_was_said_in_its_place_is_not_kept(
    cache: AudioCache, refused: Synthesis, speaker: Synthesis
) -> None:
    """TTS is gone after the opening: the caller hears the shipped words, but the next one not these under their name."""
    opening = voice.speech(OPENING, SAMPLE_RATE)
    await cache.put(_speech(OPENING), frames_of(opening, SAMPLE_RATE))
    greeting = await prepare(cache, refused)
    heard = await whole(greeting)
    assert np.abs(heard[len(opening) :].astype(int)).max() > 1_000
    assert await _words(greeting) == f"Good morning, {SHIPPED_TEXT}"
    assert greeting.audio is not None
    assert isinstance(await greeting.audio.failure(), APIConnectionError)
    await keep(greeting, speaker, cache)
    assert await cache.get(_speech(WRITTEN.text, ADA.id)) is None


@pytest.mark.parametrize("cut", [1, 0.5])
async def test_a_speech_that_is_cut_off_is_never_said_twice_nor_kept(
    tmp_path: Path, cache: AudioCache, cut: float
) -> None:
    """LiveKit speaks it anew from its beginning: the caller hears the shipped greeting instead, the cache is given what is whole."""
    alone = voice.duration(WRITTEN.text)
    async with _cut(tmp_path, cut) as speaker:
        speaker.speak_as(ADA.voice)
        greeting = await prepare(cache, speaker)
        heard = len(await whole(greeting)) / SAMPLE_RATE
        assert greeting.audio is not None
        assert isinstance(await greeting.audio.failure(), APIConnectionError)
        assert heard < alone / 2 + len(await whole(shipped())) / SAMPLE_RATE + 0.2
        assert await _words(greeting) == f"{WRITTEN.text} {SHIPPED_TEXT}"
        await keep(greeting, speaker, cache)
        assert await cache.get(_speech(WRITTEN.text, ADA.id)) is None
        with pytest.raises(APIConnectionError) if cut == 1 else nullcontext():
            await make_ahead(WRITTEN, ADA, speaker, ADA.voice, cache)
        kept = await cache.get(_speech(WRITTEN.text, ADA.id))
    assert (kept is None) == (cut == 1)
    assert kept is None or len(samples(kept)) / SAMPLE_RATE == pytest.approx(alone, abs=0.05)


@asynccontextmanager
async def _cut(folder: Path, probability: float) -> AsyncGenerator[Synthesis]:
    """The real plugins; this share of what is spoken breaks off in its middle."""
    (folder / "cut").mkdir()
    async with simulated(folder / "cut", f"[tts]\nfaults = {{ cut = {probability} }}") as settings:
        built = synthesis(settings, Refusals(None))
        yield built
        await built.aclose()


async def test_a_voice_that_falls_silent_is_given_up(tmp_path: Path, cache: AudioCache) -> None:
    """It says half of it and then nothing, the connection open: the shipped greeting follows when it has faltered too long."""
    async with _faltering(tmp_path) as speaker:
        speaker.speak_as(ADA.voice)
        greeting = await prepared(WRITTEN, ADA, speaker, ADA.voice, cache, deadline=2)
        heard = len(await whole(greeting)) / SAMPLE_RATE
        assert greeting.audio is not None
        assert isinstance(await greeting.audio.failure(), TimeoutError)
    half = voice.duration(WRITTEN.text) / 2
    assert heard == pytest.approx(half + len(await whole(shipped())) / SAMPLE_RATE, abs=0.3)
    assert await _words(greeting) == f"{WRITTEN.text} {SHIPPED_TEXT}"


@asynccontextmanager
async def _faltering(folder: Path) -> AsyncGenerator[Synthesis]:
    """The real plugins; the TTS never comes to an end."""
    over = asyncio.Event()

    async def speak(request: web.Request) -> web.StreamResponse:
        audio = voice.speech((await request.json())["text"], SAMPLE_RATE)
        response = web.StreamResponse(headers={"Content-Type": f"audio/l16;rate={SAMPLE_RATE};channels=1"})
        await response.prepare(request)
        await response.write(audio[: len(audio) // 2].tobytes())
        await over.wait()
        return response

    app = web.Application()
    app.router.add_post("/v1/speak", speak)
    async with TestServer(app) as server, http_context.open():
        built = synthesis(made(folder, DEEPGRAM_BASE_URL=str(server.make_url("/v1"))), Refusals(None))
        yield built
        await built.aclose()
        over.set()


async def test_a_slow_voice_after_the_opening_is_waited_for_no_longer_than_its_deadline(
    tmp_path: Path, cache: AudioCache
) -> None:
    """The shipped sentence follows the opening."""
    await cache.put(_speech(OPENING), frames_of(voice.speech(OPENING, SAMPLE_RATE), SAMPLE_RATE))
    async with simulated(tmp_path, "[tts]\nfaults = { slow = 1, slow_ms = 60000 }") as settings:
        built = synthesis(settings, Refusals(None))
        built.speak_as(ADA.voice)
        greeting = await prepared(WRITTEN, ADA, built, ADA.voice, cache, deadline=0.1)
        assert await _words(greeting) == f"Good morning, {SHIPPED_TEXT}"
        assert greeting.audio is not None
        assert isinstance(await greeting.audio.failure(), TimeoutError)
        await built.aclose()


async def test_made_ahead_is_made_once(cache: AudioCache, speaker: Synthesis) -> None:
    """Greeting and opening; the second time there is nothing left to make, and the caller's is a hit."""
    speaker.speak_as(ADA.voice)
    assert await make_ahead(WRITTEN, ADA, speaker, ADA.voice, cache) == 2
    assert await make_ahead(WRITTEN, ADA, speaker, ADA.voice, cache) == 0
    assert (await prepare(cache, speaker)).hit
    generic = _written(GENERIC)
    assert await make_ahead(generic, GENERIC, speaker, "default", cache) == 1  # begins with no salutation


async def test_what_is_shipped_needs_no_provider() -> None:
    """It is loud enough to be heard, at the voice's rate, and has no gap of its own."""
    sound = await whole(shipped())
    assert np.abs(sound.astype(int)).max() > 3_000
    assert largest_gap(sound, SAMPLE_RATE) < 0.3
