"""A provider is believed after a look: the real plugins, and simulators that answer with what is no speech or refuse a voice.

`refused` in a model names voices or languages that the simulated provider has not.
"""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, APIStatusError, stt
from livekit.agents.utils import http_context

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.audio import speaking as speaking_module
from firstword.agent.audio.refusals import REMEMBERED_S, Refusals
from firstword.agent.audio.speaking import SAMPLE_RATE, TooShort, shortest
from firstword.agent.audio.splice import frames_of, samples_of, trimmed
from firstword.agent.audio.synthesis import Synthesis, synthesis
from firstword.agent.cache.cache import Cache
from firstword.agent.cache.sqlite import SQLiteFile
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.audio_cache import BOUNDS, AudioCache, CachedSpeech
from firstword.agent.greeting.greeting import SHIPPED_TEXT, PreparedGreeting, keep, make_ahead, prepared, shipped_audio
from firstword.agent.greeting.text import greeting_text, opening_of
from firstword.agent.parts import WorkerParts
from firstword.agent.settings import Settings
from firstword.rehearsal.providers import hearing, voice
from tests.agent.providers import simulated

ADA = ACCOUNTS[0]
WRITTEN = greeting_text(ADA, 1_790_000_000.0)
OPENING = opening_of(ADA, WRITTEN) or ""
NOBODY = "aura-2-nobody-en"
"""A voice that the simulated provider has not."""
REFUSED_WARNING = "the provider refused the {} of an account (HTTP 400): another takes its place for 60 minutes"
ONCE = APIConnectOptions(max_retry=0, timeout=60)
PATIENCE_S = 120.0
"""A bound that only a hang reaches; deadlines that must not be what ends a wait are longer."""


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[AudioCache]:
    kept = Cache(SQLiteFile(tmp_path, "audio", BOUNDS), deadline=60)
    await kept.prepare()
    yield AudioCache(kept, days=7)
    await kept.aclose()


@asynccontextmanager
async def speaking(
    folder: Path, tts: str = "", *, refusals: Refusals | None = None
) -> AsyncGenerator[tuple[Synthesis, Settings]]:
    """The real plugin at a simulator whose voice is as this TOML says."""
    async with simulated(folder, f"[connection]\nmedian_ms = 1\n[tts]\nfirst_byte = {{ median_ms = 20 }}\n{tts}") as to:
        built = synthesis(to, refusals or Refusals(None))
        built.speak_as(ADA.voice)
        yield built, to
        await built.aclose()


async def requests(settings: Settings) -> int:
    """How often the voice was asked, WebSockets' handshakes included."""
    stats = f"{settings.deepgram_base_url.removesuffix('/v1')}/stats"
    async with http_context.http_session().get(stats) as response:
        return (await response.json())["tts"]["requests"]


def seconds(frames: list[rtc.AudioFrame]) -> float:
    return sum(frame.duration for frame in frames)


def speech(text: str, *, account: str = ADA.id, voice: str = ADA.voice) -> CachedSpeech:
    return CachedSpeech(account, voice, text, WRITTEN.day_part, SAMPLE_RATE)


async def words(greeting: PreparedGreeting) -> str:
    return greeting.said if isinstance(greeting.said, str) else "".join([word async for word in greeting.said])


async def posted(speaker: Synthesis, text: str) -> list[rtc.AudioFrame]:
    """As a greeting is spoken."""
    async with speaker.tts.synthesize(text, conn_options=ONCE) as stream:
        return [part.frame async for part in stream]


async def streamed(speaker: Synthesis, text: str) -> list[rtc.AudioFrame]:
    """As LiveKit's session speaks a turn."""
    async with speaker.tts.stream(conn_options=ONCE) as stream:
        stream.push_text(text)
        stream.end_input()
        return [part.frame async for part in stream]


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name == "firstword"]


# --- what is no speech


@pytest.mark.parametrize(
    ("body", "error"), [("json", APIStatusError), ("html", APIStatusError), ("header", TooShort), ("short", TooShort)]
)
async def test_an_answer_that_is_no_speech_is_a_failure_at_once(
    tmp_path: Path, cache: AudioCache, body: str, error: type[Exception]
) -> None:
    """The shipped greeting follows the opening right away, what little was heard of it is no more than there was, nothing is kept."""
    await cache.put(speech(OPENING, account=""), frames_of(voice.speech(OPENING, SAMPLE_RATE), SAMPLE_RATE))
    shipped = samples_of(await shipped_audio().whole(), SAMPLE_RATE)
    async with speaking(tmp_path, f'body = "{body}"') as (speaker, _), asyncio.timeout(PATIENCE_S):
        greeting = await prepared(WRITTEN, ADA, speaker, ADA.voice, cache, deadline=3600)
        assert greeting.audio is not None
        after = seconds(await greeting.audio.whole()) - voice.duration(OPENING)
        assert type(await greeting.audio.failure()) is error
        assert (await words(greeting)).endswith(SHIPPED_TEXT)
        least, most = len(trimmed(shipped, SAMPLE_RATE)) / SAMPLE_RATE, len(shipped) / SAMPLE_RATE
        assert least - 0.05 < after < most + (0.45 if body == "short" else 0.05)
        await keep(greeting, speaker, cache)
        with pytest.raises(error):
            await make_ahead(WRITTEN, ADA, speaker, ADA.voice, cache)
    assert await cache.get(speech(WRITTEN.text)) is None


@pytest.mark.parametrize("body", ["json", "html", "header"])
async def test_nothing_is_heard_of_an_answer_that_is_no_speech(tmp_path: Path, body: str) -> None:
    """Without an opening the shipped greeting is the first that is said."""
    async with speaking(tmp_path, f'body = "{body}"') as (speaker, _), asyncio.timeout(PATIENCE_S):
        with pytest.raises(APIError) as failed:
            await anext(aiter(speaker.spoken(WRITTEN.text, patience=3600)))
    assert not failed.value.retryable


async def test_what_was_cached_too_short_is_made_anew(
    tmp_path: Path, cache: AudioCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second of sound for a greeting of four, kept by who did not look."""
    with monkeypatch.context() as unseeing:
        unseeing.setattr(speaking_module, "FASTEST", 1_000_000)
        assert await cache.put(speech(WRITTEN.text), frames_of(voice.speech(OPENING, SAMPLE_RATE), SAMPLE_RATE))
    assert await cache.get(speech(WRITTEN.text)) is None
    async with speaking(tmp_path) as (speaker, _):
        assert await make_ahead(WRITTEN, ADA, speaker, ADA.voice, cache) == 2
    assert seconds(await cache.get(speech(WRITTEN.text)) or []) == pytest.approx(voice.duration(WRITTEN.text), abs=0.05)


@pytest.mark.parametrize(
    ("sound", "text"),
    [("hello", SHIPPED_TEXT), ("sorry", "Sorry, I can't go on just now. Please call again later.")],
)
def test_a_real_voice_takes_more_than_twice_the_least(sound: str, text: str) -> None:
    """The bound lets a voice through that is twice as fast; what has no letters is bound to nothing."""
    with wave.open(str(Path(greetings.__file__).parent / "sounds" / f"{sound}.wav")) as file:
        assert file.getnframes() / file.getframerate() > 2 * shortest(text)
    assert shortest("?! 👋") == 0


# --- what is refused of an account


async def test_a_voice_that_is_refused_gives_way_to_the_settings_one(
    tmp_path: Path, cache: AudioCache, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first refusal and for the session: the caller hears their greeting, and each turn; one warning names the field."""
    async with speaking(tmp_path) as (speaker, settings):
        speaker.speak_as(NOBODY)
        greeting = await prepared(WRITTEN, ADA, speaker, speaker.voice, cache, deadline=60)
        assert greeting.audio is not None
        assert seconds(await greeting.audio.whole()) == pytest.approx(voice.duration(WRITTEN.text), abs=0.05)
        assert (await words(greeting), speaker.voice) == (WRITTEN.text, settings.tts_voice)
        assert await requests(settings) == 2
        await keep(greeting, speaker, cache)
        assert await streamed(speaker, "Nice to hear you.")
        assert await requests(settings) == 3
        # who was refused meanwhile is in no cache under either voice; the next round makes it as the settings' one
        assert await cache.get(speech(WRITTEN.text, voice=NOBODY)) is None
        assert await make_ahead(WRITTEN, ADA, speaker, speaker.voice, cache) == 2
        assert await cache.get(speech(WRITTEN.text, voice=settings.tts_voice)) is not None
    assert warnings(caplog) == [REFUSED_WARNING.format("voice")]


async def test_a_turn_is_heard_where_it_is_the_first_to_be_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The WebSocket's handshake is refused: the same turn goes on with the settings' voice."""
    async with speaking(tmp_path) as (speaker, settings):
        speaker.speak_as(NOBODY)
        heard = await streamed(speaker, "Nice to hear you.")
        assert seconds(heard) == pytest.approx(voice.duration("Nice to hear you."), abs=0.05)
        assert await requests(settings) == 2
    assert warnings(caplog) == [REFUSED_WARNING.format("voice")]


async def test_what_is_made_ahead_in_place_of_a_refused_voice_is_kept_as_what_it_is(
    tmp_path: Path, cache: AudioCache
) -> None:
    """Once, under the voice that spoke."""
    async with speaking(tmp_path) as (speaker, settings):
        speaker.speak_as(NOBODY)
        assert await make_ahead(WRITTEN, ADA, speaker, speaker.voice, cache) == 2
        assert await make_ahead(WRITTEN, ADA, speaker, speaker.voice, cache) == 0
        for text, account in ((WRITTEN.text, ADA.id), (OPENING, "")):
            assert await cache.get(speech(text, account=account, voice=settings.tts_voice)) is not None
            assert await cache.get(speech(text, account=account, voice=NOBODY)) is None


@pytest.mark.parametrize(("language", "heard_in"), [("zz-ZZ", "en"), ("de-AT", "de"), ("nl", "nl")])
async def test_a_language_that_is_refused_gives_way_to_the_nearest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, language: str, heard_in: str
) -> None:
    """German for Austria's, English where there is nothing nearer; the caller is heard from the first stream on."""
    async with simulated(
        tmp_path, '[stt]\nconnect = { median_ms = 1 }\nrefused = ["zz", "zz-ZZ", "de-AT"]'
    ) as settings:
        refusals = Refusals(None)
        components = WorkerParts(settings, refusals).components()
        components.fit(replace(ADA, language=language))
        assert components.stt is not None
        async with components.stt.stream(conn_options=ONCE) as stream:
            sound = hearing.tone("hello", 0.5, 16_000)
            stream.push_frame(rtc.AudioFrame(sound.tobytes(), 16_000, 1, len(sound)))
            stream.flush()
            said = ""
            while not said:
                event = await anext(stream)
                said = event.alternatives[0].text if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT else ""
        await components.aclose()
    assert said == "hello"
    assert [each for each in ("zz-ZZ", "zz", "de-AT", "de", "nl") if refusals.known("language", each)] == {
        "zz-ZZ": ["zz-ZZ", "zz"],
        "de-AT": ["de-AT"],
        "nl": [],
    }[language]
    assert set(warnings(caplog)) == ({REFUSED_WARNING.format("language")} if heard_in != language else set())


@pytest.mark.parametrize(
    "trouble",
    ["faults = { refuse = 1 }", f'refused = ["{NOBODY}", "aura-2-andromeda-en"]'],
    ids=["an outage", "the settings' own voice is refused too"],
)
async def test_trouble_that_is_not_the_accounts_is_not_remembered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """The settings' voice fares no better: the account's is asked for again once the trouble is over."""
    async with speaking(tmp_path, trouble) as (speaker, _):
        speaker.speak_as(NOBODY)
        for way in (posted, streamed):
            with pytest.raises(APIError):
                await way(speaker, "Hello.")
        assert speaker.voice == NOBODY
    assert warnings(caplog) == []


def test_what_one_process_is_refused_the_others_know(tmp_path: Path) -> None:
    """By field and value, for as long as it is remembered; without a folder nobody else knows."""
    now = 1_790_000_000.0
    ours, theirs = Refusals(tmp_path), Refusals(tmp_path)
    assert (ours.add("voice", NOBODY), theirs.add("voice", NOBODY)) == (True, False)
    assert theirs.known("voice", NOBODY)
    assert not theirs.known("language", NOBODY)
    assert not theirs.known("voice", "../../etc")
    alone = Refusals(None, now=lambda: now)
    assert alone.add("voice", NOBODY)
    assert not Refusals(None).known("voice", NOBODY)
    now += REMEMBERED_S - 1
    assert alone.known("voice", NOBODY)
    now += 1
    assert not alone.known("voice", NOBODY)
    assert alone.add("voice", NOBODY)
