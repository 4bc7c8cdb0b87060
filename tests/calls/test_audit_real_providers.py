"""`firstword audit --real`, with simulators at other addresses in the part of the real providers: bounded, said before, and reported."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from firstword.rehearsal.agent_file import AgentFile
from firstword.rehearsal.audit import Audit, NeverHeard, audit
from firstword.rehearsal.environment import simulators
from tests.leftovers import left_of

AGENTS = Path(__file__).parent / "audited"


@asynccontextmanager
async def who_refuses_every_key() -> AsyncGenerator[str]:
    """The address of a provider that does."""

    async def refuse(_: web.Request) -> web.Response:
        error = {
            "message": "Incorrect API key provided: sk-wrong.",
            "type": "invalid_request_error",
            "code": "invalid_api_key",
        }
        return web.json_response({"error": error}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An agent that greets by LiveKit Inference, with a key of its own in the file beside it."""
    folder = shutil.copytree(AGENTS / "shop", tmp_path / "shop")
    (folder / ".env.local").write_text("SHOP=open\nLIVEKIT_API_KEY=theirs\nLIVEKIT_API_SECRET=theirs\n")
    (tmp_path / "audit").mkdir()
    monkeypatch.chdir(tmp_path)
    return folder / "agent.py"


def requests(stats: str) -> dict[str, int]:
    """How many requests each simulator has had."""
    with urllib.request.urlopen(stats, timeout=60) as answer:  # of this machine
        return {name: counts["requests"] for name, counts in json.load(answer).items() if counts["requests"]}


@pytest.mark.real
async def test_real_providers_are_called_after_it_is_said(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the addresses of the user's environment, and no simulator of the audit's own is started."""
    async with simulators(None, tmp_path / "providers.log") as addresses:
        monkeypatch.setenv("LIVEKIT_INFERENCE_URL", addresses["inference"])
        before: list[tuple[AgentFile, dict[str, int]]] = []
        run = await audit(
            Audit(shop, Path(sys.executable), shop.parent, sessions=1, real=True),
            tmp_path / "audit",
            announce=lambda file: before.append((file, requests(addresses["stats"]))),
        )
        after = requests(addresses["stats"])
    ((file, called),) = before
    assert called == {}
    assert "LIVEKIT_INFERENCE_API_KEY" in file.keys
    assert set(after) == {"inference-llm", "inference-stt", "inference-tts"}
    (session,) = run.sessions
    assert session.heard_s is not None
    assert set(run.agent.real) == {"LiveKit Inference LLM", "LiveKit Inference STT", "LiveKit Inference TTS"}
    assert run.agent.simulated == ()
    assert not (tmp_path / "audit" / "logs" / "providers.log").exists()
    assert left_of(tmp_path / "audit") == []


@pytest.mark.real
@pytest.mark.soak
async def test_a_provider_that_refuses_the_key_is_one_line(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the provider says. It waits for two callers who hear nothing: too long for every run."""
    async with who_refuses_every_key() as address:
        monkeypatch.setenv("LIVEKIT_INFERENCE_URL", address)
        with pytest.raises(NeverHeard) as error:
            await audit(Audit(shop, Path(sys.executable), shop.parent, sessions=2, real=True), tmp_path / "audit")
    assert "401" in str(error.value)
    assert "\n" not in str(error.value)
    assert left_of(tmp_path / "audit") == []
