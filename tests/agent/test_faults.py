"""What breaks around a start, with the real worker: the caller is greeted all the same, or the trace says why not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

from agent.accounts.examples import ACCOUNTS
from agent.accounts.model import GENERIC
from agent.greeting import SHIPPED_TEXT
from rehearsal.processes import ServerFailed, started
from rehearsal.surroundings import simulators
from tests.agent.stage import PATIENCE, Actor, Stage, Traced, stage, until

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

ADA = ACCOUNTS[0]


async def test_everything_away(stage: Stage) -> None:
    """Store, STT, LLM and TTS down and no collector: the caller hears the shipped greeting, and the process ends in time."""
    model = stage.folder / "refuse.toml"
    faults = "faults = { refuse = 1, cut = 0, slow = 0, slow_ms = 0 }"
    model.write_text("\n".join(f"[{provider}]\n{faults}" for provider in ("llm", "tts", "stt")))
    async with simulators(model, stage.folder / "refusing.log") as addresses:
        environment = {f"{name.upper()}_BASE_URL": address for name, address in addresses.items()} | {
            "FIRSTWORD_STORE_URL": "sqlite:////proc/nowhere/accounts.db",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        }
        async with stage.actor("tuned", environment) as actor:
            caller = actor.caller(account=ADA.id)
            await caller.connect()
            sid = await caller.room.sid
            await caller.reads(SHIPPED_TEXT, PATIENCE)
            assert any(audible for _, audible in caller.voice())
            await caller.leave()
            start = await actor.trace(sid, whole=True)
            assert await actor.worker.at_rest()
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.account.result"] == "fallback"
    assert start.root.attributes["startup.fallbacks"] == 2  # the account's and the playout's
    assert start["account"].attributes["error.type"] == "StoreError"
    assert "greeting.shipped" in start.root.events
    assert start["playout"].attributes["error.type"] in ("TimeoutError", "NotSpoken")


@pytest.mark.parametrize(
    ("fault", "reason", "named"),
    [
        pytest.param("slow = 1, slow_ms = 60000", "TimeoutError", False, id="slow"),
        pytest.param("cut = 1", "APIConnectionError", True, id="cut off"),
    ],
)
async def test_a_voice_that_fails_after_the_opening(
    stage: Stage, tuned: Actor, tmp_path: Path, fault: str, reason: str, named: bool
) -> None:
    """The caller hears the shipped greeting then; the session knows what was said, and the trace why."""
    model = tmp_path / "tts.toml"
    model.write_text(f"[tts]\nfaults = {{ {fault} }}")
    shutil.copytree(tuned.cache, tmp_path / "cache")  # with the openings in it
    async with simulators(model, tmp_path / "faulty.log") as addresses:
        environment = {f"{name.upper()}_BASE_URL": address for name, address in addresses.items()} | {
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "FIRSTWORD_GREETING_DEADLINE": "1",
        }
        async with stage.actor("tuned", environment) as actor:
            stranger = await actor.stranger()
            caller = actor.caller(account=stranger.id)
            await caller.connect()
            sid = await caller.room.sid
            await caller.reads(SHIPPED_TEXT, PATIENCE)
            assert any(stranger.name in text for text in caller.texts) == named
            await caller.leave()
            start = await actor.trace(sid, whole=True)
    assert start.outcome == "first_word"
    late = start["deferred.greeting_cache"]
    assert late.events.count("greeting.shipped") == 1
    assert late.attributes["error.type"] == reason


async def test_failed_and_timed_out(stage: Stage) -> None:
    """A required task that fails ends the job, with the error's type on the trace; so does a start that takes too long."""
    model = stage.folder / "stuck.toml"
    model.write_text("[store]\nread = { median_ms = 3000, sigma = 0 }\n")
    environment = {
        "FIRSTWORD_NOISE_CANCELLATION": "bvc",  # wants an extra that is not installed
        "FIRSTWORD_STORE_URL": f"sqlite+simulated:///{stage.folder / 'stuck.db'}?latency={model}",
        "FIRSTWORD_ACCOUNT_DEADLINE": "10",
        "FIRSTWORD_START_TIMEOUT": "1",
    }
    async with stage.actor("baseline", environment) as actor:
        unlucky, stuck = actor.caller(), actor.caller(account=ADA.id)
        await unlucky.connect()
        failed = await actor.trace(await unlucky.room.sid)
        await stuck.connect()
        timed_out = await actor.trace(await stuck.room.sid)
        assert await actor.worker.at_rest()
        await asyncio.gather(unlucky.leave(), stuck.leave())
    assert failed.outcome == "failed"
    assert failed.root.failed
    assert failed["room_options"].attributes["error.type"] in ("ImportError", "ModuleNotFoundError")
    assert timed_out.outcome == "timed_out"
    assert timed_out.root.attributes["startup.slow"] is True
    assert timed_out.root.attributes["startup.critical_task"] == "account"


async def test_server_restarted(tmp_path: Path) -> None:
    """LiveKit's server dies while a caller is about to be greeted: the start ends with a trace; once it is back, callers are greeted."""
    model = tmp_path / "slow.toml"
    model.write_text("[store]\nread = { median_ms = 2000, sigma = 0 }\n")
    environment = {
        "FIRSTWORD_STORE_URL": f"sqlite+simulated:///{tmp_path / 'slow.db'}?latency={model}",
        "FIRSTWORD_ACCOUNT_DEADLINE": "10",
        "FIRSTWORD_START_TIMEOUT": "4",
    }
    start: Traced | None = None
    with contextlib.suppress(ServerFailed):  # the stage's, for its server that ended
        async with stage(tmp_path) as here, here.actor("baseline", environment) as actor:
            caller = actor.caller(account=ADA.id)
            await caller.connect()
            sid = await caller.room.sid
            await caller.meets_agent(PATIENCE)
            await asyncio.sleep(0.3)
            server = _server(tmp_path)
            command = server.cmdline()
            server.send_signal(signal.SIGKILL)
            start = await actor.trace(sid)
            assert await actor.worker.at_rest()
            await caller.leave()
            async with started(command, {}, output=asyncio.subprocess.DEVNULL):
                await until(lambda: [line["message"] for line in actor.log].count("registered worker") == 2, 30)
                caller = actor.caller()
                await caller.connect()
                await caller.reads(GENERIC.greeting, PATIENCE)
                await caller.leave()
    assert start is not None
    assert start.outcome in ("failed", "timed_out")


def _server(folder: Path) -> psutil.Process:
    """The LiveKit server whose configuration lies in that folder."""
    children = psutil.Process().children(recursive=True)
    return next(each for each in children if str(folder / "livekit.yaml") in each.cmdline())


async def test_wrong_settings(tmp_path: Path) -> None:
    """The worker says in one line each what is wrong with its settings, and exits with 2, without a traceback."""
    worker = Path(__file__).parents[2] / "agent" / "worker.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livekit.agents", "start", str(worker)),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "FIRSTWORD_SLOW": "soon", "LIVEKIT_API_SECRET": "hush hush"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    lines = errors.decode().splitlines()
    assert process.returncode == 2
    assert any(line.startswith("LIVEKIT_URL is missing") for line in lines)
    assert any(line.startswith("FIRSTWORD_SLOW is 'soon'") for line in lines)
    assert "hush hush" not in errors.decode()
    assert all("; it may be: " in line for line in lines)
