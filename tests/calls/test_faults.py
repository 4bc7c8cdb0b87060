"""What breaks around a start, with the real worker: the caller is greeted all the same, or the trace says why not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import psutil
import pytest

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import GENERIC
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.audio.splice import samples_of
from firstword.agent.greeting.greeting import SHIPPED_TEXT, shipped_apology, shipped_audio
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.processes import ServerFailed, started
from firstword.telemetry.vocabulary import ROOM_SID, ROOT
from tests.agent.metrics_receiver import metrics_receiver
from tests.calls.sent import Samples, whole
from tests.calls.speaker import Speaker
from tests.calls.traces import Traced
from tests.calls.waiting import PATIENCE, until
from tests.calls.workers import CallServers, WorkerUnderTest, call_servers

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

ADA = ACCOUNTS[0]


async def test_everything_away(servers: CallServers) -> None:
    """Store, STT, LLM and TTS down and no collector: the caller hears the shipped greeting, and the process ends in time.

    Each span that the collector did not get is counted, also those whose export was still being tried at the end.
    """
    model = servers.folder / "refuse.toml"
    faults = "faults = { refuse = 1, cut = 0, slow = 0, slow_ms = 0 }"
    model.write_text("\n".join(f"[{provider}]\n{faults}" for provider in ("llm", "tts", "stt")))
    async with (
        simulators(model, servers.folder / "refusing.log") as addresses,
        metrics_receiver() as metrics,
    ):
        environment = {f"{name.upper()}_BASE_URL": address for name, address in addresses.items()} | {
            "FIRSTWORD_STORE_URL": "sqlite:////proc/nowhere/accounts.db",
            "FIRSTWORD_SPEECH_DEADLINE": "2",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            **metrics.environment,
        }
        async with servers.worker("tuned", environment) as worker:
            caller = worker.caller(account=ADA.id)
            await caller.connect()
            sid = await caller.room.sid
            await caller.reads(SHIPPED_TEXT)
            await worker.says(caller, whole(await shipped("hello")))
            await caller.leave()
            start = await worker.trace(sid, whole=True)
            (written,) = (spans for spans in worker.spans_by_process if start.root in spans)
            await until(lambda: metrics.value("startup.spans.dropped") == len(written))
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.account.result"] == "fallback"
    assert start.root.attributes["startup.fallbacks"] == 2  # the account's and the playout's
    assert start["account"].attributes["error.type"] == "StoreError"
    assert "greeting.shipped" in start.root.events
    assert start["playout"].attributes["error.type"] in ("TimeoutError", "NotSpoken")


async def shipped(name: str) -> Samples:
    """One of the sounds that ship with the package."""
    sound = shipped_apology() if name == "sorry" else shipped_audio()
    return samples_of(await sound.whole(), SAMPLE_RATE)


async def test_server_restarted(tmp_path: Path) -> None:
    """LiveKit's server dies while a caller is about to be greeted: the start ends with a trace; once it is back, callers are greeted."""
    environment = {**_slow_store(tmp_path / "slow"), "FIRSTWORD_START_TIMEOUT": "4"}
    start: Traced | None = None
    with contextlib.suppress(ServerFailed):  # of `call_servers`, for its server that ended
        async with call_servers(tmp_path) as here, here.worker("baseline", environment) as worker:
            caller, sid = await _waiting(worker)
            server = _server(tmp_path)
            command = server.cmdline()
            server.send_signal(signal.SIGKILL)
            start = await worker.trace(sid)
            await caller.leave()
            async with started(command, {}, output=asyncio.subprocess.DEVNULL):
                await until(lambda: [line["message"] for line in worker.log].count("registered worker") == 2)
                await worker.rests()
                caller = worker.caller()
                await caller.connect()
                await caller.reads(GENERIC.greeting)
                await caller.leave()
    assert start is not None
    assert start.outcome in ("failed", "timed_out")


async def test_processes_that_end_before_the_first_word(servers: CallServers) -> None:
    """A job's that the kernel kills takes its start along, and the next caller is greeted.

    So they are by a worker that is told to end while their greeting is prepared; it exports the start, and ends well with its call.
    """
    alone = {"FIRSTWORD_IDLE_PROCESSES": "1"}  # so the first process that began has the first job
    async with servers.worker("baseline", _slow_store(servers.folder / "ending") | alone) as worker:
        killed, lost = await _waiting(worker)
        os.kill(next(line["pid"] for line in worker.log if line["message"] == "initializing process"), signal.SIGKILL)
        await killed.leave()
        caller, sid = await _waiting(worker)
        os.kill(worker.pid, signal.SIGTERM)
        await caller.reads(ADA.name)
        await caller.leave()
        with pytest.raises(ServerFailed, match=r"exit code 0"):
            async with asyncio.timeout(PATIENCE):
                await worker.running.ended()
        assert (await worker.trace(sid)).outcome == "first_word"
        assert lost not in [span.attributes.get(ROOM_SID) for span in worker.spans if span.name == ROOT]


async def _waiting(worker: WorkerUnderTest) -> tuple[Speaker, str]:
    """A caller whom the agent has seen, and who has heard nothing yet; the room's sid."""
    caller = worker.caller(account=ADA.id)
    await caller.connect()
    sid = await caller.room.sid
    await caller.is_seen()
    return caller, sid


def _slow_store(database: Path) -> dict[str, str]:
    """Two seconds a read."""
    model = database.with_suffix(".toml")
    model.write_text("[store]\nread = { median_ms = 2000, sigma = 0 }\n")
    return {"FIRSTWORD_STORE_URL": f"sqlite+simulated:///{database}.db?latency={model}"}


def _server(folder: Path) -> psutil.Process:
    """The LiveKit server whose configuration lies in that folder."""
    children = psutil.Process().children(recursive=True)
    return next(each for each in children if str(folder / "livekit.yaml") in each.cmdline())
