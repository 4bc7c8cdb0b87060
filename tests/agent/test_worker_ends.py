"""SIGTERM at the moments of a worker's life: while it imports, idle, in a job, a second time, and with its drain over.

In the middle of what it makes ahead: `test_worker.py`. In a call that goes on to its end: `tests/calls/test_workers.py`.
"""

from __future__ import annotations

import asyncio
import re
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from firstword.rehearsal.files import data_file
from firstword.rehearsal.processes import free_ports
from tests.agent.registering_server import Registering, registering_server
from tests.agent.test_worker import started_from
from tests.calls.waiting import PATIENCE

SHIPPED = data_file("agent/worker.py")
BROKEN = """
from firstword.agent.parts import Parts
from firstword.agent.testing.providers import FakeTTS

class Breaks(FakeTTS):
    def synthesize(self, text, **options):
        raise LookupError("not an answer")

class Broken(Parts):
    def tts(self):
        return Breaks()

    def voice_key(self, engine):
        return "anybody's"
"""


@asynccontextmanager
async def ready_worker(folder: Path, **variables: str) -> AsyncGenerator[tuple[Registering, Process, int]]:
    """The shipped worker with one process for a job, once it is ready, its server, and its port. Nothing of it is left on exit."""
    (port,) = free_ports(1)
    async with registering_server() as livekit:
        own = {"LIVEKIT_URL": livekit.url, "FIRSTWORD_IDLE_PROCESSES": "1", "FIRSTWORD_HTTP_PORT": str(port)}
        worker = await started_from(SHIPPED, folder, {**own, **variables})
        try:
            await until_it_says(200, port, worker)
            yield livekit, worker, port
        finally:
            if worker.returncode is None:
                worker.kill()
            await worker.communicate()


async def until_it_says(status: int, port: int, worker: Process) -> None:
    """Wait until `/readyz` does."""
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
        while worker.returncode is None:
            try:
                async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == status:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)
    _, errors = await worker.communicate()
    raise AssertionError(errors.decode())


async def end(worker: Process, own: list[psutil.Process]) -> tuple[int | None, str]:
    """Exit code and log of a worker that ends, with its processes."""
    async with asyncio.timeout(PATIENCE):
        output, errors = await worker.communicate()
    _, left = psutil.wait_procs(own, timeout=PATIENCE)
    assert not left
    return worker.returncode, (output + errors).decode()


def processes_of(worker: Process) -> list[psutil.Process]:
    """Those that it has started."""
    return psutil.Process(worker.pid).children(recursive=True)


async def test_while_it_imports(tmp_path: Path) -> None:
    """It has taken no call, and ends at once as any process does. As process 1 of a container it needs an init before it."""
    worker = await started_from(SHIPPED, tmp_path, {})
    worker.send_signal(signal.SIGTERM)
    code, log = await end(worker, [])
    assert code == -signal.SIGTERM
    assert log == ""


@pytest.mark.soak
async def test_at_any_moment(tmp_path: Path) -> None:
    """Two dozen moments from its birth until it is ready and beyond: a process for each, which takes minutes."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async with ready_worker(tmp_path):
        takes = clock() - began
    async with registering_server() as livekit:
        for moment in range(24):
            own = {"LIVEKIT_URL": livekit.url, "FIRSTWORD_IDLE_PROCESSES": "1", "FIRSTWORD_PROFILE": "tuned"}
            worker = await started_from(SHIPPED, tmp_path, own)
            await asyncio.sleep(takes * 1.2 * moment / 23)
            processes = processes_of(worker)
            worker.send_signal(signal.SIGTERM)
            code, log = await end(worker, processes)
            assert code in (0, -signal.SIGTERM), f"{moment}: {log}"
            assert "Traceback" not in log, f"{moment}: {log}"


async def test_after_a_first_round_that_nobody_expected_to_fail(tmp_path: Path) -> None:
    """It takes jobs all the same, and ends when it is told to."""
    (tmp_path / "broken_parts.py").write_text(BROKEN)
    broken = {"FIRSTWORD_PARTS": "broken_parts:Broken", "PYTHONPATH": str(tmp_path), "FIRSTWORD_PROFILE": "tuned"}
    async with ready_worker(tmp_path, **broken) as (_, worker, _):
        own = processes_of(worker)
        worker.send_signal(signal.SIGTERM)
        code, log = await end(worker, own)
    assert code == 0
    assert "accounts and greetings are not kept fresh" in log


async def test_while_it_is_idle(tmp_path: Path) -> None:
    async with ready_worker(tmp_path) as (_, worker, _):
        own = processes_of(worker)
        worker.send_signal(signal.SIGTERM)
        code, log = await end(worker, own)
    assert code == 0
    assert "Traceback" not in log


async def test_a_second_time(tmp_path: Path) -> None:
    """The operator insists: it ends at once, and its job with it."""
    async with ready_worker(tmp_path) as (livekit, worker, port):
        await livekit.give_job()
        own = processes_of(worker)
        worker.send_signal(signal.SIGTERM)
        await until_it_says(503, port, worker)
        worker.send_signal(signal.SIGTERM)
        code, _ = await end(worker, own)
    assert code == 1


async def test_with_its_drain_over(tmp_path: Path) -> None:
    """The job is told to end, one line says so, and the worker ends well."""
    async with ready_worker(tmp_path, FIRSTWORD_DRAIN="1") as (livekit, worker, _):
        await livekit.give_job()
        own = processes_of(worker)
        worker.send_signal(signal.SIGTERM)
        code, log = await end(worker, own)
    assert code == 0
    assert len(re.findall("drain timed out", log)) == 1
    assert "Traceback" not in log
