"""The greeting that the LLM writes: now, or during one call for the next, and the template where it can't."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from livekit.agents import APIError

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.audio.refusals import Refusals
from firstword.agent.cache.cache import Cache
from firstword.agent.cache.sqlite import SQLiteFile
from firstword.agent.conversation import greeting_writer
from firstword.agent.greeting.audio_cache import BOUNDS
from firstword.agent.greeting.text import MAX_TEXT, DayPart, GreetingText
from firstword.agent.parts import WorkerParts
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.server import simulators
from tests.agent.providers import made

ADA = ACCOUNTS[0]
TEMPLATE = GreetingText("Good morning, Ada!", DayPart.MORNING)


async def test_the_llm_is_told_who_calls_and_what_it_says_is_one_line(tmp_path: Path) -> None:
    """By the real plugin: the simulator answers with what it was asked."""
    async with simulators(Latencies.load(None)) as providers:
        components = WorkerParts(made(tmp_path, OPENAI_BASE_URL=providers.openai), Refusals(None)).components()
        written = await greeting_writer.write(ADA, TEMPLATE, components)
        await components.aclose()
    assert ADA.name in written.text
    assert written.text.isprintable()
    assert len(written.text) <= MAX_TEXT
    assert written.day_part is None


async def test_an_llm_that_is_down_is_the_callers_error_to_handle(tmp_path: Path) -> None:
    """The start has a deadline and the template for it."""
    components = WorkerParts(made(tmp_path, OPENAI_BASE_URL="http://127.0.0.1:9/v1"), Refusals(None)).components()
    with pytest.raises(APIError):
        await greeting_writer.write(ADA, TEMPLATE, components)
    await components.aclose()


async def test_what_was_written_during_a_call_is_said_in_the_next(tmp_path: Path) -> None:
    """By account; before there is any, the template's."""
    async with aclosing(Cache(SQLiteFile(tmp_path, "audio", BOUNDS), deadline=60)) as cache:
        await cache.prepare()
        assert await greeting_writer.last_written(ADA, TEMPLATE, cache) == TEMPLATE
        await greeting_writer.keep(ADA, GreetingText("Welcome back, Ada!", None), cache)
        assert (await greeting_writer.last_written(ADA, TEMPLATE, cache)).text == "Welcome back, Ada!"
        assert await greeting_writer.last_written(ACCOUNTS[1], TEMPLATE, cache) == TEMPLATE


async def test_what_was_written_in_the_evening_is_not_said_in_the_morning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a name that has changed since."""
    evening = datetime(2026, 6, 1, 20, tzinfo=ZoneInfo(ADA.time_zone)).timestamp()
    async with aclosing(Cache(SQLiteFile(tmp_path, "audio", BOUNDS), deadline=60)) as cache:
        monkeypatch.setattr(greeting_writer, "time", SimpleNamespace(time=lambda: evening))
        await greeting_writer.keep(ADA, GreetingText("Good evening, Ada!", None), cache)
        assert await greeting_writer.last_written(ADA, TEMPLATE, cache) != TEMPLATE
        assert await greeting_writer.last_written(replace(ADA, name="Grace"), TEMPLATE, cache) == TEMPLATE
        monkeypatch.setattr(greeting_writer, "time", SimpleNamespace(time=lambda: evening + 12 * 3600))
        assert await greeting_writer.last_written(ADA, TEMPLATE, cache) == TEMPLATE
