"""Workers of one agent, as a platform runs them: started until they are ready, told to end, replaced.

Benchmarks of what happens to callers meanwhile share this. All workers share LiveKit, the simulated providers and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import aiohttp

from firstword.rehearsal.environment import LOCAL, Choice, RunningServers, own_store, running_servers
from firstword.rehearsal.processes import ServerFailed, free_ports
from firstword.rehearsal.result import LOGS, TRACES
from firstword.rehearsal.workers import REGISTER_S, RunningWorker, running_worker
from firstword.telemetry.vocabulary import ROOT
from firstword.tuning.files import Files
from firstword.tuning.sources import Query

AGENT = "rolling"
PROFILE = "tuned"
DRAIN_S = 60
"""Seconds that a worker's calls have to end; longer than any call here."""
GRACE_S = 30.0
"""Seconds beyond the drain after which the platform kills."""
PROBE_EVERY_S = 0.2


@dataclass(slots=True)
class Replica:
    """One worker of the deployment, and where it is asked how it is."""

    worker: RunningWorker
    folder: Path
    port: int
    lives: contextlib.AsyncExitStack
    told_at: float | None = None
    """When it was told to end, in Unix seconds."""

    async def is_ready(self) -> bool:
        """Returns whether `/readyz` answers with 200."""
        url = f"http://127.0.0.1:{self.port}/readyz"
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                return answer.status == 200
        return False

    async def ready(self) -> None:
        """Waits until it is ready, as a rollout does. Raises TimeoutError, ServerFailed."""
        async with asyncio.timeout(REGISTER_S):
            await self.worker.registered()
            while not await self.is_ready():  # noqa: ASYNC110 - the platform polls too
                await asyncio.sleep(PROBE_EVERY_S)

    async def end(self) -> float:
        """Tells it to end, and waits until it has. Returns the seconds that took. Raises TimeoutError."""
        began, self.told_at = time.monotonic(), time.time()
        os.kill(self.worker.pid, signal.SIGTERM)
        async with asyncio.timeout(DRAIN_S + GRACE_S):
            await self.worker.exited()
        return time.monotonic() - began


class Deployment:
    """Workers of one agent, replaced one after the other."""

    def __init__(self, servers: RunningServers, folder: Path) -> None:
        self._servers = servers
        self._folder = folder
        self._made = 0
        self.now: list[Replica] = []
        self.all: list[Replica] = []

    async def add(self) -> Replica:
        """Starts one more worker, and returns it once it is ready."""
        self._made += 1
        folder, (port,) = self._folder / f"worker-{self._made}", free_ports(1)
        folder.mkdir()
        environment = {
            **self._servers.variables,
            **own_store(LOCAL, folder, PROFILE),
            "FIRSTWORD_HTTP_PORT": str(port),
            "FIRSTWORD_DRAIN": str(DRAIN_S),
            "FIRSTWORD_IDLE_PROCESSES": "2",
        }
        lives = contextlib.AsyncExitStack()
        worker = await lives.enter_async_context(
            running_worker(PROFILE, agent_name=AGENT, folder=folder, stack=self._servers.stack, environment=environment)
        )
        replica = Replica(worker, folder, port, lives)
        self.all.append(replica)
        await replica.ready()
        self.now.append(replica)
        return replica

    async def replace(self, old: Replica) -> float:
        """As the chart does: the new worker is ready first, then the old one gets SIGTERM. Returns the seconds that it
        took to end. Raises TimeoutError.
        """
        await self.add()
        self.now.remove(old)
        return await old.end()

    async def aclose(self) -> None:
        """Ends all workers."""
        for replica in self.all:
            with contextlib.suppress(ServerFailed):
                await replica.lives.aclose()


@contextlib.asynccontextmanager
async def deployment(
    folder: Path, workers: int, choice: Choice = LOCAL
) -> AsyncGenerator[tuple[RunningServers, Deployment]]:
    """Servers and so many workers, all ready. `choice` says which LiveKit server they use."""
    async with running_servers(choice, folder) as servers:
        deployed = Deployment(servers, folder)
        try:
            for _ in range(workers):
                await deployed.add()
            yield servers, deployed
        finally:
            await deployed.aclose()


def jobs_of(replica: Replica) -> dict[str, float]:
    """Its jobs by its log: LiveKit's id of each room, and when it was offered the job, in Unix seconds."""
    found: dict[str, float] = {}
    for line in (replica.folder / LOGS / f"{PROFILE}.log").read_text(errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            if record.get("message") == "received job request":
                found[record["room_id"]] = datetime.fromisoformat(record["timestamp"]).timestamp()
    return found


def starts_in(folder: Path) -> int:
    """How many starts have a whole trace in the files of a worker."""
    traces = Files(folder / TRACES).traces(Query(), lambda _: None)
    return sum(any(span.name == ROOT for span in trace.spans) for trace in traces)
