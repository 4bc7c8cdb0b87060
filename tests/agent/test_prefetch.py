"""What a new worker has made before its first job, with the real plugins, a real store and real caches."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from livekit import rtc
from livekit.agents import APIStatusError, tts

from firstword.agent import folders, run_folder
from firstword.agent.accounts import sql_store as stores
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import GENERIC, Account
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.audio.refusals import Refusals
from firstword.agent.audio.synthesis import Synthesis, synthesis
from firstword.agent.cache.backend import CacheFailure, CacheUnavailable
from firstword.agent.cache.sqlite import SQLiteFile
from firstword.agent.failures import BackOff
from firstword.agent.flags.improvements import profile
from firstword.agent.greeting.audio_cache import AudioCache
from firstword.agent.greeting.greeting import look_up, prepared
from firstword.agent.greeting.text import greeting_text
from firstword.agent.process import prefetch
from firstword.agent.process.caches import opened_caches
from firstword.agent.process.prefetch import Prefetch
from firstword.agent.settings import Settings
from tests.agent.caches import PATIENCE
from tests.agent.providers import REFUSING, made, simulated
from tests.agent.silent_server import silent_server

RoundsOf = Callable[[Settings], Prefetch]
TUNED = profile("tuned")
NOW = datetime(2026, 6, 1, 14, 10, tzinfo=UTC).timestamp()
"""In no account's time zone a part of the day ends now."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and a time of day that stays: at its end each account has two greetings.

    On a busy machine, too, a round and a statement come to their ends.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(prefetch, "FIRST_ROUND_S", PATIENCE)
    monkeypatch.setattr(stores, "STATEMENT_S", PATIENCE)
    monkeypatch.setattr(prefetch, "time", SimpleNamespace(time=lambda: NOW))


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    async with simulated(tmp_path) as found:
        yield tuned(found)


def tuned(settings: Settings) -> Settings:
    return settings.model_copy(update={"profile": "tuned", "cache_deadline": PATIENCE})


async def test_the_accounts_of_a_fresh_store_are_greeted_ahead(settings: Settings, rounds_of: RoundsOf) -> None:
    """And the caller nobody knows; a second round finds nothing left to make."""
    assert await rounds_of(settings).make() > len(ACCOUNTS)
    caches = opened_caches(settings, TUNED)
    assert caches.speeches is not None
    audio = AudioCache(caches.speeches, days=7)
    nobody = synthesis(settings.model_copy(update={"deepgram_base_url": "http://127.0.0.1:9/v1"}), Refusals(None))
    for account in (GENERIC, *ACCOUNTS):
        written = greeting_text(account, NOW)
        voice = account.voice or settings.tts_voice
        assert (await prepared(written, account, nobody, voice, audio, deadline=60)).hit, account.id
    await nobody.aclose()
    await caches.aclose()
    assert await rounds_of(settings).make() == 0


async def test_the_next_part_of_the_day_is_ready_before_it_begins(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, rounds_of: RoundsOf
) -> None:
    """Half a minute before noon in New York Ada's good afternoon is made too: the first caller after noon waits for none."""
    noon = datetime(2026, 6, 1, 16, tzinfo=UTC).timestamp()
    monkeypatch.setattr(prefetch, "time", SimpleNamespace(time=lambda: noon - 30))
    await rounds_of(settings).make()
    caches = opened_caches(settings, TUNED)
    assert caches.speeches is not None
    audio, ada = AudioCache(caches.speeches, days=7), ACCOUNTS[0]
    texts = [greeting_text(ada, noon + seconds) for seconds in (-30, 1)]
    assert texts[0] != texts[1]
    assert all([await look_up(text, ada, ada.voice, audio) for text in texts])
    await caches.aclose()


async def test_each_speaks_with_its_own_voice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, rounds_of: RoundsOf
) -> None:
    """An account that names no voice has the settings' one, whoever was greeted before it."""
    store = await SQLStore.open(settings.store_url.get_secret_value())
    for account in ACCOUNTS:
        await store.save(replace(account, id=f"{account.id}-silent", name="Nemo", voice=""))
    await store.aclose()
    spoken: dict[str, set[str]] = {}
    record = Synthesis.recorded

    async def listened(self: Synthesis, text: str) -> list[rtc.AudioFrame]:
        assert isinstance(self.tts, tts.TTS)
        spoken.setdefault(self.tts.model, set()).add(text)
        return await record(self, text)

    monkeypatch.setattr(Synthesis, "recorded", listened)
    await rounds_of(settings).make()
    assert {text for text in spoken[settings.tts_voice] if "Nemo" in text}
    for voice, texts in spoken.items():
        assert voice == settings.tts_voice or not [text for text in texts if "Nemo" in text]


async def test_a_provider_that_is_down_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rounds_of: RoundsOf
) -> None:
    """The worker starts all the same."""
    async with simulated(tmp_path, REFUSING) as settings:
        with caplog.at_level(logging.WARNING, logger="firstword"):
            await rounds_of(tuned(settings)).first_round()
    assert [record.message for record in caplog.records if record.name == "firstword"] == [
        "greetings that could not be made ahead: 4, the last for APIStatusError"
    ]


class Choosy(Synthesis):
    """A TTS that knows no voice `nobodys`, and breaks on one `broken`."""

    async def recorded(self, text: str) -> list[rtc.AudioFrame]:
        match self.tts.model:
            case "nobodys":
                raise APIStatusError("no such voice", status_code=400)
            case "broken":
                raise RuntimeError("not an answer")
            case _:
                return await super().recorded(text)


async def voices_are(settings: Settings, voice: str, accounts: Sequence[Account]) -> None:
    store = await SQLStore.open(settings.store_url.get_secret_value())
    for account in accounts:
        await store.save(replace(account, voice=voice))
    await store.aclose()


async def test_a_voice_that_is_refused_is_that_accounts_trouble_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rounds_of: RoundsOf
) -> None:
    """Everybody else is greeted ahead, however many are refused; one warning says how many were not."""
    monkeypatch.setattr("firstword.agent.audio.synthesis.Synthesis", Choosy)
    await voices_are(settings, "nobodys", ACCOUNTS[:5])
    with caplog.at_level(logging.WARNING, logger="firstword"):
        assert await rounds_of(settings).make() >= 2
    assert [record.message for record in caplog.records if record.name == "firstword"] == [
        "greetings that could not be made ahead: 5, the last for APIStatusError"
    ]
    await voices_are(settings, "", ACCOUNTS[:5])
    assert await rounds_of(settings).make() > 0


async def test_a_voice_that_the_provider_has_not_is_asked_for_once(
    settings: Settings, caplog: pytest.LogCaptureFixture, rounds_of: RoundsOf
) -> None:
    """Its accounts are greeted in the settings' voice, in this round and those after it: the worker remembers."""
    run_folder.make()
    try:
        await voices_are(settings, "aura-2-nobody-en", ACCOUNTS)
        rounds = rounds_of(settings)
        assert await rounds.make() > len(ACCOUNTS)
        assert await rounds.make() == 0
        await voices_are(settings, "aura-2-nobody-en", [replace(ACCOUNTS[0], id="new", name="Nemo")])
        assert await rounds.make() >= 1
    finally:
        run_folder.remove()
    assert [record.getMessage() for record in caplog.records if record.name == "firstword"] == [
        "the provider refused the voice of an account (HTTP 400): another takes its place for 60 minutes"
    ]


async def test_nothing_but_its_end_ends_the_rounds(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rounds_of: RoundsOf
) -> None:
    """What nobody expected is logged once, with its traceback; the worker takes jobs, and later rounds try again."""
    monkeypatch.setattr(prefetch, "FRESH", 0.2)
    tried = counted(monkeypatch)
    await voices_are(settings, "broken", ACCOUNTS)
    rounds = rounds_of(settings)
    with caplog.at_level(logging.WARNING, logger="firstword"):
        await rounds.first_round()
        first = len(tried)
        going_on = asyncio.create_task(rounds.keep_fresh())
        async with asyncio.timeout(PATIENCE):
            while len(tried) <= first:  # noqa: ASYNC110 - in the rounds
                await asyncio.sleep(0.05)
    assert not going_on.done()
    going_on.cancel()
    await asyncio.gather(going_on, return_exceptions=True)
    ours = [record for record in caplog.records if record.name == "firstword"]
    assert [(record.message, bool(record.exc_info)) for record in ours] == [
        ("accounts and greetings are not kept fresh", True)
    ]


async def test_their_end_counts_also_while_one_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, rounds_of: RoundsOf
) -> None:
    """A worker that ends while the TTS breaks waits for no further round."""
    monkeypatch.setattr(prefetch, "FRESH", 0.2)
    speaking = asyncio.Event()

    async def breaks_when_cancelled(speaker: Synthesis, text: str) -> list[rtc.AudioFrame]:
        speaking.set()
        try:
            return await asyncio.Event().wait() and []
        finally:
            raise RuntimeError("not an answer")

    monkeypatch.setattr(Synthesis, "recorded", breaks_when_cancelled)
    going_on = asyncio.create_task(rounds_of(settings).keep_fresh())
    async with asyncio.timeout(PATIENCE):
        await speaking.wait()
    going_on.cancel()
    await asyncio.wait({going_on}, timeout=PATIENCE)
    assert going_on.cancelled()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that the TTS was asked for."""
    asked: list[str] = []
    record = Choosy.recorded

    async def recorded(self: Choosy, text: str) -> list[rtc.AudioFrame]:
        asked.append(text)
        return await record(self, text)

    monkeypatch.setattr(Choosy, "recorded", recorded)
    monkeypatch.setattr("firstword.agent.audio.synthesis.Synthesis", Choosy)
    return asked


async def test_nothing_is_spoken_that_cannot_be_kept(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rounds_of: RoundsOf,
) -> None:
    """A cache folder that cannot be written to costs no request, in any round; when it can be, the greetings are made."""
    asked = counted(monkeypatch)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "firstword").touch()

    def looked_so_at_first(_: Path) -> bool:
        return True

    monkeypatch.setattr(folders, "can_be_written", looked_so_at_first)
    monkeypatch.setattr("firstword.agent.cache.cache.PAUSE", 0.0)
    rounds = rounds_of(settings)
    with caplog.at_level(logging.WARNING, logger="firstword"):
        assert [await rounds.make() for _ in range(5)] == [0] * 5
    assert asked == []
    assert len(caplog.messages) == 2  # of each cache one
    (tmp_path / "cache" / "firstword").unlink()
    assert await rounds.make() == 0  # not before the pause is over
    monkeypatch.setattr(BackOff, "due", property(lambda _: True))
    assert await rounds.make() > len(ACCOUNTS)


async def test_a_cache_that_fills_up_ends_the_round(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, rounds_of: RoundsOf
) -> None:
    """What four speak at the same time is lost; no more is spoken, in this round and until the pause is over."""
    asked = counted(monkeypatch)
    put = SQLiteFile.put

    async def full(self: SQLiteFile, key: str, value: bytes, owner: str, lifetime: float) -> bool:
        if asked:
            raise CacheUnavailable(CacheFailure.FULL, "SQLITE_FULL")
        return await put(self, key, value, owner, lifetime)

    monkeypatch.setattr(SQLiteFile, "put", full)
    rounds = rounds_of(settings)
    for _ in range(5):
        await rounds.make()
    assert 1 <= len(asked) <= prefetch.AT_ONCE


async def test_a_voice_that_stays_refused_is_asked_ever_more_rarely(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, rounds_of: RoundsOf
) -> None:
    """Not once a round; a voice that is corrected is tried at once."""
    asked = counted(monkeypatch)
    await voices_are(settings, "nobodys", ACCOUNTS[:1])
    rounds = rounds_of(settings)
    await rounds.make()
    first = len(asked)
    assert [await rounds.make() for _ in range(5)] == [0] * 5
    assert len(asked) == first
    await voices_are(settings, "", ACCOUNTS[:1])
    assert await rounds.make() > 0


async def test_a_store_that_never_answers_ends_the_round(
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rounds_of: RoundsOf,
) -> None:
    """By the deadline of its first statement, with a line that is not empty."""
    monkeypatch.setattr(stores, "STATEMENT_S", 0.1)
    async with silent_server() as server:
        url = made(tmp_path, store_url=f"postgresql://u:p@127.0.0.1:{server.port}/d").store_url
        rounds = rounds_of(settings.model_copy(update={"store_url": url}))
        with caplog.at_level(logging.WARNING, logger="firstword"):
            async with asyncio.timeout(PATIENCE):
                await rounds.first_round()
    assert caplog.messages == ["accounts and greetings are not kept fresh: account store late: no answer in time"]


async def test_what_some_process_may_use_is_made(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, rounds_of: RoundsOf
) -> None:
    """At a share of one in a hundred the greetings are there for whom it falls on; a flag that is turned on later is followed."""
    file = tmp_path / "flags.json"
    monkeypatch.setenv("FLAGD_OFFLINE_FLAG_SOURCE_PATH", str(file))
    drawing = settings.model_copy(update={"profile": None, "flags_deadline": 777.0})

    def share(percent: int) -> None:
        flag = {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "targeting": {"fractional": [["on", percent], ["off", 100 - percent]]},
        }
        file.write_text(json.dumps({"flags": {"smart-greeting": flag}}))

    share(0)
    assert await rounds_of(drawing).make() == 0
    assert not (tmp_path / "accounts.db").exists()
    share(1)
    assert await rounds_of(drawing).make() > len(ACCOUNTS)


async def test_a_store_that_is_down_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rounds_of: RoundsOf
) -> None:
    """Likewise."""
    with caplog.at_level(logging.WARNING, logger="firstword"):
        await rounds_of(made(tmp_path, profile="tuned", store_url="sqlite:////proc/nowhere/accounts.db")).first_round()
    assert [record.message for record in caplog.records if record.name == "firstword"] == [
        "accounts and greetings are not kept fresh: account store unreachable: FileNotFoundError"
    ]


async def test_baseline_makes_nothing_ahead(tmp_path: Path, rounds_of: RoundsOf) -> None:
    """With both flags off neither store nor provider is asked."""
    await rounds_of(made(tmp_path, profile="baseline")).first_round()
    assert not (tmp_path / "accounts.db").exists()
