"""Tests of a worker's own parts: what each class of own_parts.py makes works, against simulators of its providers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from examples import own_parts
from firstword.agent.accounts.account_store import StoreError
from firstword.agent.conversation.tools import tools_of
from firstword.agent.parts import Parts, WorkerParts, check_parts
from firstword.agent.process.prefetch import Prefetch
from firstword.agent.settings import Settings
from firstword.rehearsal.providers.server import ProviderAddresses
from tests.agent.providers import made
from tests.rehearsal.quick_simulators import quick_simulators

VOICES = ("OtherVoice", "LiveKitInference", "RealtimeModel")


@pytest.fixture
async def providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[ProviderAddresses]:
    async with quick_simulators(tmp_path) as addresses:
        for name, value in {
            "CARTESIA_BASE_URL": addresses.cartesia,
            "CARTESIA_API_KEY": "simulated",
            "LIVEKIT_INFERENCE_URL": addresses.inference,
            "LIVEKIT_API_KEY": "key",
            "LIVEKIT_API_SECRET": "of thirty-two characters, or more",
            "OPENAI_BASE_URL": addresses.openai,
            "OPENAI_API_KEY": "simulated",
            "XDG_CACHE_HOME": str(tmp_path),
        }.items():
            monkeypatch.setenv(name, value)
        yield addresses


def of(name: str, folder: Path, **changed: object) -> Settings:
    """A worker's settings with these parts."""
    return made(folder, parts=f"examples.own_parts:{name}", profile="tuned", cache_deadline=120, **changed)


@pytest.mark.usefixtures("providers")
@pytest.mark.parametrize("name", VOICES)
async def test_greetings_are_made_ahead_once(name: str, tmp_path: Path) -> None:
    """By another TTS, by LiveKit Inference, by a realtime model: the second round finds each under its engine's key."""
    settings = of(name, tmp_path, prefetch_accounts=1)
    check_parts(settings)
    async with aclosing(Prefetch(settings)) as first, aclosing(Prefetch(settings)) as second:
        assert await first.make() > 0
        assert await second.make() == 0


@pytest.mark.usefixtures("providers")
def test_an_account_chooses_among_the_voices(tmp_path: Path) -> None:
    """And is cached by the one that it chose."""
    speaker = WorkerParts(of("OtherVoice", tmp_path)).speaker()
    keys: list[str | None] = []
    for voice in ("warm", "brisk", ""):
        speaker.speak_as(voice)
        keys.append(speaker.voice)
    assert None not in keys
    assert keys[0] == keys[2] != keys[1]


def test_livekit_inference_wants_livekits_keys_alone(tmp_path: Path) -> None:
    assert of("LiveKitInference", tmp_path, OPENAI_API_KEY="", DEEPGRAM_API_KEY="").parts


def test_one_tool_more(tmp_path: Path) -> None:
    known = WorkerParts(of("OwnTool", tmp_path)).tools()
    account = own_parts.Account("1", "Ada", "en", "UTC", "", "", "", ("opening_hours",), ())
    (tool,) = tools_of(account, known, lambda: None)
    assert tool.id == "opening_hours"
    assert set(known) - {"opening_hours"} == set(Parts.tools(own_parts.OwnTool(of("OwnTool", tmp_path))))


@pytest.fixture
async def customers(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[dict[str, object]]:
    """The customers of a service that runs; `broken` among them makes it fail."""
    there: dict[str, object] = {"7": {"name": "Ada", "language": "en", "time_zone": "UTC", "notes": ["Likes tea."]}}

    async def ids(_: web.Request) -> web.Response:
        return web.json_response(sorted(there))

    async def one(request: web.Request) -> web.Response:
        found = there.get(request.match_info["id"])
        status = 404 if found is None else 500 if found == "broken" else 200
        return web.json_response(found, status=status)

    app = web.Application()
    app.add_routes([web.get("/customers", ids), web.get("/customers/{id}", one)])
    async with TestServer(app) as server:
        monkeypatch.setenv("CUSTOMERS_URL", str(server.make_url("")).rstrip("/"))
        yield there


async def test_accounts_of_somebody_elses_service(customers: dict[str, object], tmp_path: Path) -> None:
    """What it has is read, what it has not is nobody, and what fails is a failure of the store."""
    store = WorkerParts(of("OwnAccounts", tmp_path)).store()
    async with aclosing(store):
        found = await store.account("7")
        assert found is not None
        assert (found.name, found.knowledge) == ("Ada", ("Likes tea.",))
        assert await store.account("8") is None
        assert ([ids async for ids in store.ids()], await store.common(5)) == ([["7"]], ["7"])
        customers["9"] = "broken"
        with pytest.raises(StoreError):
            await store.account("9")


def test_every_class_of_the_file_is_tried() -> None:
    """By the tests above."""
    classes = [each for each in vars(own_parts).values() if isinstance(each, type) and issubclass(each, Parts)]
    assert {each.__name__ for each in classes} - {"Parts"} == {*VOICES, "OwnTool", "OwnAccounts"}
