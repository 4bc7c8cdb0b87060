"""What a new worker has made before its first job, with the real plugins, a real store and real caches."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from livekit import rtc
from livekit.agents import tts

from agent import ahead
from agent import components as parts
from agent.accounts.examples import ACCOUNTS
from agent.accounts.model import GENERIC
from agent.accounts.store import AccountStore
from agent.caches.audio import AudioCache
from agent.caches.open import opened_caches
from agent.components import Components
from agent.flags import profile
from agent.greeting import prepared
from agent.greeting_text import greeting_text
from agent.settings import Settings
from tests.agent.providers import REFUSING, made, simulated

TUNED = profile("tuned")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    async with simulated(tmp_path) as found:
        yield found


async def test_the_accounts_of_a_fresh_store_are_greeted_ahead(settings: Settings) -> None:
    """And the caller nobody knows; a second round finds nothing left to make."""
    assert await ahead.make(settings, TUNED) > len(ACCOUNTS)
    caches = opened_caches(settings, TUNED)
    assert caches.speeches is not None
    audio = AudioCache(caches.speeches, days=7)
    nobody = parts.build(settings.model_copy(update={"deepgram_base_url": "http://127.0.0.1:9/v1"}))
    for account in (GENERIC, *ACCOUNTS):
        written = greeting_text(account, time.time())
        voice = account.voice or settings.tts_voice
        assert (await prepared(written, account, nobody, voice, audio, deadline=5)).hit, account.id
    await nobody.aclose()
    await caches.aclose()
    assert await ahead.make(settings, TUNED) == 0


async def test_each_speaks_with_its_own_voice(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that names no voice has the settings' one, whoever was greeted before it."""
    store = await AccountStore.open(settings.store_url.get_secret_value())
    for account in ACCOUNTS:
        await store.save(replace(account, id=f"{account.id}-silent", name="Nemo", voice=""))
    await store.aclose()
    spoken: dict[str, set[str]] = {}
    record = Components.recorded

    async def listened(self: Components, text: str) -> list[rtc.AudioFrame]:
        assert isinstance(self.tts, tts.TTS)
        spoken.setdefault(self.tts.model, set()).add(text)
        return await record(self, text)

    monkeypatch.setattr(Components, "recorded", listened)
    await ahead.make(settings, TUNED)
    assert {text for text in spoken[settings.tts_voice] if "Nemo" in text}
    for voice, texts in spoken.items():
        assert voice == settings.tts_voice or not [text for text in texts if "Nemo" in text]


async def test_a_provider_that_is_down_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The worker starts all the same."""
    async with simulated(tmp_path, REFUSING) as settings:
        with caplog.at_level(logging.WARNING, logger="firstword"):
            await ahead.first_round(settings, TUNED)
    assert [record.message for record in caplog.records if record.name == "firstword"] == [
        "no greeting could be made ahead: APIStatusError"
    ]


async def test_a_store_that_is_down_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Likewise."""
    with caplog.at_level(logging.WARNING, logger="firstword"):
        await ahead.first_round(made(tmp_path, store_url="sqlite:////proc/nowhere/accounts.db"), TUNED)
    assert [record.message for record in caplog.records if record.name == "firstword"] == [
        "not everything could be made ahead: StoreError"
    ]


async def test_baseline_makes_nothing_ahead(tmp_path: Path) -> None:
    """With both flags off neither store nor provider is asked."""
    await ahead.first_round(made(tmp_path), profile("baseline"))
    assert not (tmp_path / "accounts.db").exists()
