"""The shipped worker without something that it wants: one line, a metric, and not ready where it could serve no job.

A disk without room: `tests/deploy/test_surroundings.py`.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from firstword.rehearsal.files import data_file
from firstword.rehearsal.processes import free_ports
from tests.agent.metrics_receiver import Received, metrics_receiver
from tests.agent.registering_server import registering_server
from tests.agent.test_worker import ended, started_from
from tests.calls.waiting import PATIENCE, until


@pytest.mark.parametrize("missing", ["LIVEKIT_API_SECRET", "DEEPGRAM_API_KEY"])
async def test_a_secret(missing: str, tmp_path: Path) -> None:
    """It does not begin: exit code 2. The platform shows that it restarts, and the alert on no worker fires."""
    code, output, errors = await ended(tmp_path, **{missing: ""})
    assert (code, output) == (2, "")
    line, where = errors.splitlines()
    assert line.startswith(f"{missing} is missing; expected ")
    assert where.startswith("possible cause: no .env.local in ")


@asynccontextmanager
async def watched_worker(folder: Path, **variables: str) -> AsyncGenerator[tuple[int, Received, bytearray]]:
    """A worker's port, what it exports, and what it has logged so far; killed on exit."""
    (port,) = free_ports(1)
    log = bytearray()
    async with metrics_receiver() as metrics:
        own = {"FIRSTWORD_HTTP_PORT": str(port), **metrics.environment}
        worker = await started_from(data_file("agent/worker.py"), folder, {**own, **variables})
        reading = asyncio.create_task(_read(worker, log))
        try:
            yield port, metrics, log
        finally:
            worker.kill()
            await reading


async def _read(worker: Process, log: bytearray) -> None:
    assert worker.stdout is not None
    assert worker.stderr is not None
    for stream in (worker.stdout, worker.stderr):
        async for line in stream:
            log += line
    await worker.wait()


async def answer(port: int, path: str) -> tuple[int, str]:
    """Status and body, once it answers."""
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"http://127.0.0.1:{port}{path}") as got:
                    return got.status, await got.text()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def test_livekit(tmp_path: Path) -> None:
    """Alive and not ready while it tries, and so say the gauges. `test_worker.py` has the end of its patience."""
    away = f"ws://127.0.0.1:{free_ports(1)[0]}"
    async with watched_worker(tmp_path, LIVEKIT_URL=away) as (port, metrics, log):
        await until(lambda: metrics.value("firstword.worker.load") is not None)
        await until(lambda: b"failed to connect to livekit, retrying" in log)
        assert await answer(port, "/readyz") == (503, "not registered: no LiveKit server has it\n")
        assert await answer(port, "/healthz") == (200, "alive\n")
        assert metrics.value("firstword.worker.registered") == 0
        assert metrics.value("firstword.worker.ready") == 0


async def test_a_cache(tmp_path: Path) -> None:
    """Calls go on without it: ready, one line for each of the two, and their failures counted."""
    nowhere = f"redis://127.0.0.1:{free_ports(1)[0]}"
    async with registering_server() as livekit:
        variables = {"LIVEKIT_URL": livekit.url, "FIRSTWORD_CACHE_URL": nowhere, "FIRSTWORD_PROFILE": "tuned"}
        async with watched_worker(tmp_path, **variables) as (port, metrics, log):
            await until(lambda: metrics.value("firstword.worker.ready") == 1)
            assert await answer(port, "/readyz") == (200, "ready\n")
            for helper in ("accounts cache", "audio cache"):
                failures = metrics.value("firstword.helper.failures", helper=helper, reason="unreachable")
                assert failures, metrics.values
                assert log.count(f"sessions go on without the {helper}: ".encode()) == 1
