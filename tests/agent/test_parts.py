"""firstword.agent.parts: a worker of other parts greets, caches and fails as the shipped one does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from livekit.agents import llm
from pydantic import SecretStr, ValidationError

from firstword.agent.accounts.account_store import GuardedStore, StoreError, StoreFailure
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.audio.refusals import Refusals
from firstword.agent.parts import Parts, WorkerParts, check_parts
from firstword.agent.process.prefetch import Prefetch
from firstword.agent.process.tool_check import missing_tools
from firstword.agent.settings import PartsError, Settings
from firstword.agent.testing.providers import FakeTTS
from firstword.agent.testing.realtime import FakeRealtimeModel
from firstword.telemetry.vocabulary import ACCOUNT_RESULT
from tests.agent import own_parts
from tests.agent.providers import made
from tests.agent.virtual_calls import BASELINE, TUNED, Shape, VirtualCall, VirtualCalls

MODULE = "tests.agent.own_parts"
NO_KEYS = {"OPENAI_API_KEY": "", "DEEPGRAM_API_KEY": ""}


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    own_parts.made.clear()


def of_kind(kind: type[object]) -> list[object]:
    return [each for each in own_parts.made if isinstance(each, kind)]


@pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["baseline", "tuned"])
def test_a_call_of_other_parts(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """The caller hears the account's greeting by the other TTS; assistant, tools and store are the user's own."""

    async def scenario(call: VirtualCall) -> None:
        await call.caller.join()
        await call.hang_up()

    ended = virtual_calls.run(scenario, shape, parts=f"{MODULE}:Everything")
    assert (ended.outcome, ended.attributes[ACCOUNT_RESULT]) == ("first_word", "miss")
    (tts,) = of_kind(FakeTTS)
    assert isinstance(tts, FakeTTS)
    assert any("Ada" in text for text in tts.speaking.requests)
    concierge = of_kind(own_parts.Concierge)[-1]
    assert isinstance(concierge, own_parts.Concierge)
    assert own_parts.HOUSE_RULE in str(concierge.instructions)
    assert {tool.id for tool in concierge.tools if isinstance(tool, llm.FunctionTool)} == {"wish", "end_call"}
    (store,) = of_kind(own_parts.Listed)
    assert isinstance(store, own_parts.Listed)
    assert [row.account for row in store.rows][-1:] == [own_parts.ADA.id]


@pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["baseline", "tuned"])
def test_a_realtime_model_takes_the_place_of_all_three(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """It is asked to say just the greeting, once."""

    async def scenario(call: VirtualCall) -> None:
        await call.caller.join()
        await call.hang_up()

    ended = virtual_calls.run(scenario, shape, parts=f"{MODULE}:Realtime")
    assert ended.outcome == "first_word"
    assert ended.heard
    (model,) = of_kind(FakeRealtimeModel)
    assert isinstance(model, FakeRealtimeModel)
    assert [request for request in model.requests if "Ada" in request]


def test_a_voice_that_nobody_can_tell_speaks_and_is_not_kept(virtual_calls: VirtualCalls) -> None:
    async def scenario(call: VirtualCall) -> None:
        await call.caller.join()
        await call.hang_up()

    ended = virtual_calls.run(scenario, parts=f"{MODULE}:Nameless")
    assert ended.outcome == "first_word"
    assert ended.heard


def own(folder: Path, name: str) -> Settings:
    """Settings with these parts, and without the keys of the shipped ones."""
    return made(folder, parts=f"{MODULE}:{name}", profile="tuned", cache_deadline=120, **NO_KEYS)


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("name", ["Everything", "Realtime"])
async def test_greetings_are_made_ahead_by_the_engine_that_speaks(
    tmp_path: Path, name: str, rounds_of: Callable[[Settings], Prefetch]
) -> None:
    """Once: the second round finds them under the engine's own key."""
    settings = own(tmp_path, name)
    assert await rounds_of(settings).make() > 0
    assert await rounds_of(settings).make() == 0


@pytest.mark.usefixtures("cached")
async def test_no_greeting_is_made_ahead_of_a_voice_without_a_key(
    tmp_path: Path, rounds_of: Callable[[Settings], Prefetch], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert await rounds_of(own(tmp_path, "Nameless")).make() == 0
    assert "nobody can tell whose voice the engine has" in caplog.text


@pytest.mark.parametrize(
    ("name", "missing"),
    [("Everything", set[str]()), ("Mute", {"openai_api_key", "deepgram_api_key"}), ("Realtime", set[str]())],
)
def test_a_key_is_wanted_where_its_part_is_used(tmp_path: Path, name: str, missing: set[str]) -> None:
    """Deepgram's as long as one of the two that speak and listen is its."""
    if not missing:
        assert own(tmp_path, name).openai_api_key == SecretStr("")
        return
    with pytest.raises(ValidationError) as raised:
        own(tmp_path, name)
    assert {str(error["loc"][0]) for error in raised.value.errors()} == missing


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("Mute", "nothing speaks: `tts` made none, and `llm` no realtime model"),
        ("Deaf", "nothing listens: `stt` made none, and `llm` no realtime model"),
        ("Keyless", "`tts` raised ValueError: a key is required"),
        ("Odd", "`store` made dict, expected AccountStore"),
    ],
)
def test_parts_that_cant_be_made_are_one_line(tmp_path: Path, name: str, cause: str) -> None:
    """At the worker's start."""
    settings = made(tmp_path, parts=f"{MODULE}:{name}")
    with pytest.raises(PartsError) as raised:
        check_parts(settings)
    line = f"FIRSTWORD_PARTS is '{MODULE}:{name}'; expected `module:class`; possible cause: {cause}"
    assert str(raised.value) == line


def test_parts_that_can_be_made_are_no_error(tmp_path: Path) -> None:
    for name in ("Everything", "Realtime", "Nameless"):
        check_parts(own(tmp_path, name))
    check_parts(made(tmp_path))


def test_a_realtime_model_writes_no_greetings(tmp_path: Path) -> None:
    settings = own(tmp_path, "Realtime").model_copy(update={"greeting_writer": "llm"})
    with pytest.raises(PartsError, match=r"a realtime model writes no text, and FIRSTWORD_GREETING_WRITER is llm$"):
        check_parts(settings)


async def test_a_tool_that_nobody_has_is_one_line_at_the_start(tmp_path: Path) -> None:
    """An account of the shipped store lists it; a user's own parts may have it."""
    settings = made(tmp_path)
    store = await SQLStore.open(settings.store_url.get_secret_value(), seed=False)
    await store.save(own_parts.ADA)
    await store.aclose()
    line = "accounts list tools that nobody has: 'wish'; expected current_time, look_up, end_call; possible cause: "
    assert (await missing_tools(settings) or "").startswith(line)
    assert await missing_tools(own(tmp_path, "Everything")) is None


async def test_the_examples_list_no_tool_that_nobody_has(tmp_path: Path) -> None:
    assert await missing_tools(made(tmp_path)) is None


async def test_a_store_that_is_away_does_not_keep_the_worker(tmp_path: Path) -> None:
    """What it lists is not known then."""
    (tmp_path / "taken").touch()
    assert await missing_tools(made(tmp_path, store_url=f"sqlite:///{tmp_path / 'taken' / 'accounts.db'}")) is None


async def test_whatever_a_store_raises_is_a_store_error_without_an_account() -> None:
    store = GuardedStore(own_parts.Lame())
    with pytest.raises(StoreError) as broken:
        await store.account("1001")
    with pytest.raises(StoreError) as away:
        await store.common(1)
    with pytest.raises(StoreError) as odd:
        await store.resumption("1001")
    with pytest.raises(StoreError) as half:
        _ = [ids async for ids in store.ids()]
    assert [raised.value.reason for raised in (broken, away, odd, half)] == [
        StoreFailure.BROKEN,
        StoreFailure.UNREACHABLE,
        StoreFailure.BROKEN,
        StoreFailure.BROKEN,
    ]
    assert not [raised for raised in (broken, away, odd, half) if "Ada" in str(raised.value)]


def test_what_is_not_replaced_is_shipped(tmp_path: Path) -> None:
    assert Parts.shipped() == {"stt", "llm", "tts", "assistant", "tools", "store"}
    assert own_parts.Everything.shipped() == frozenset()
    assert own_parts.Mute.shipped() == Parts.shipped() - {"tts"}
    assert WorkerParts(made(tmp_path), Refusals(None)).components().turns_end_by == "stt"
