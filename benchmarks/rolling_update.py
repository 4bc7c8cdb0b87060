"""Whether a rolling update is heard: workers are replaced one by one, as the chart does it, while callers call.

    python -m benchmarks.rolling_update --runs 10

LiveKit server and simulated providers run on this machine. A new worker is started, and is ready when `/readyz` says so; then the
old one gets SIGTERM, and has ended when its calls have. Meanwhile a caller calls every so many seconds and stays on the line. Counted
is who was not heard, who was left by the agent before they hung up, which jobs a worker took that had been told to end, and which
starts left no trace. Exits 1 where there is any.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import aiohttp
from livekit import api, rtc
from rich.console import Console
from rich.progress import Progress

from firstword.rehearsal.calls import calling
from firstword.rehearsal.environment import LOCAL, RunningServers, own_store, running_servers
from firstword.rehearsal.processes import ServerFailed, free_ports
from firstword.rehearsal.result import LOGS, TRACES, Quantiles
from firstword.rehearsal.workers import REGISTER_S, RunningWorker, running_worker
from firstword.telemetry.vocabulary import ROOT
from firstword.tuning.files import Files
from firstword.tuning.sources import Query

AGENT = "rolling"
PROFILE = "tuned"
PATIENCE_S = 30.0
"""Seconds after which a caller has heard nothing."""
DRAIN_S = 60
"""Seconds that a worker's calls have to end; longer than any call here."""
GRACE_S = 30.0
"""Seconds beyond the drain after which the platform kills."""
PROBE_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """How many workers are replaced, and who calls meanwhile."""

    workers: int = 2
    every_s: float = 2.0
    """Seconds from one caller to the next."""
    stay_s: float = 8.0
    """Seconds that a caller stays after the first word."""
    settle_s: float = 4.0
    """Seconds of calls before the first replacement, between two, and after the last."""


@dataclass(slots=True)
class Result:
    """What the callers met, and how the workers ended."""

    heard_s: list[float] = field(default_factory=list[float])
    unheard: int = 0
    cut_off: int = 0
    """Callers whose agent left before they did."""
    drains_s: list[float] = field(default_factory=list[float])
    """Seconds from SIGTERM to the end of each replaced worker."""
    exit_codes: list[int] = field(default_factory=list[int])
    jobs_after: int = 0
    """Jobs that a worker took after it was told to end."""
    traces: int = 0

    @property
    def calls(self) -> int:
        """Returns how many callers called."""
        return len(self.heard_s) + self.unheard

    @property
    def faults(self) -> list[str]:
        """Returns what went wrong, each in words; empty if nobody noticed the update."""
        found = {
            "callers unheard": self.unheard,
            "callers cut off": self.cut_off,
            "jobs taken by a worker that drains": self.jobs_after,
            "starts without a trace": len(self.heard_s) - self.traces,
            "workers that did not end by themselves": sum(code != 0 for code in self.exit_codes),
        }
        return [f"{count} {what}" for what, count in found.items() if count]

    def __str__(self) -> str:
        heard = Quantiles.of(self.heard_s)
        waited = f"heard after {heard.p50:.3f} s at p50, {heard.p90:.3f} s at p90" if heard else "nobody heard anything"
        drains = ", ".join(f"{seconds:.1f}" for seconds in self.drains_s)
        return f"{self.calls} calls: {waited}; drained in {drains} s; {'; '.join(self.faults) or 'nobody noticed'}"


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

    async def replace(self, old: Replica, result: Result) -> None:
        """As the chart does: the new worker is ready first, then the old one gets SIGTERM."""
        await self.add()
        self.now.remove(old)
        result.drains_s.append(await old.end())
        result.exit_codes.append(await old.worker.exited())

    async def aclose(self) -> None:
        """Ends all workers."""
        for replica in self.all:
            with contextlib.suppress(ServerFailed):
                await replica.lives.aclose()


@contextlib.asynccontextmanager
async def deployment(folder: Path, workers: int) -> AsyncGenerator[tuple[RunningServers, Deployment]]:
    """Servers and so many workers, all ready."""
    async with running_servers(LOCAL, folder) as servers:
        deployed = Deployment(servers, folder)
        try:
            for _ in range(workers):
                await deployed.add()
            yield servers, deployed
        finally:
            await deployed.aclose()


async def call(servers: RunningServers, rooms: api.LiveKitAPI, plan: Plan, result: Result) -> None:
    """One caller, from connecting to hanging up."""
    left: list[str] = []

    def on_left(participant: rtc.RemoteParticipant) -> None:
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            left.append(participant.identity)

    room = f"rolling-{secrets.token_hex(6)}"
    async with calling(servers.stack, rooms, room=room, agent_name=AGENT) as caller:
        await caller.connect()
        caller.room.on("participant_disconnected", on_left)  # pyright: ignore[reportUnknownMemberType]  # untyped
        try:
            result.heard_s.append(await caller.hear(PATIENCE_S))
        except TimeoutError:
            result.unheard += 1
            return
        await asyncio.sleep(plan.stay_s)
        result.cut_off += bool(left)


async def callers(
    servers: RunningServers, rooms: api.LiveKitAPI, plan: Plan, result: Result, over: asyncio.Event
) -> None:
    """Callers at a steady rate until it is over; returns when the last one has hung up."""
    async with asyncio.TaskGroup() as calls:
        while not over.is_set():
            calls.create_task(call(servers, rooms, plan, result))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), plan.every_s)


async def update(folder: Path, plan: Plan) -> Result:
    """One rolling update of all workers under steady calls."""
    result, over = Result(), asyncio.Event()
    async with deployment(folder, plan.workers) as (servers, deployed):
        stack = servers.stack
        async with api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms:
            calls = asyncio.create_task(callers(servers, rooms, plan, result, over))
            try:
                await asyncio.sleep(plan.settle_s)
                for old in list(deployed.now):
                    await deployed.replace(old, result)
                    await asyncio.sleep(plan.settle_s)
            finally:
                over.set()
                await calls
        for replica in deployed.now:
            await replica.worker.at_rest()
    result.jobs_after = sum(
        sum(at > replica.told_at for at in jobs_of(replica)) for replica in deployed.all if replica.told_at
    )
    result.traces = sum(starts_in(replica.folder) for replica in deployed.all)
    return result


def jobs_of(replica: Replica) -> Iterator[float]:
    """When it took each of its jobs, in Unix seconds, by its log."""
    for line in (replica.folder / LOGS / f"{PROFILE}.log").read_text(errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            if record.get("message") == "received job request":
                yield datetime.fromisoformat(record["timestamp"]).timestamp()


def starts_in(folder: Path) -> int:
    """How many starts have a whole trace in the files of a worker."""
    traces = Files(folder / TRACES).traces(Query(), lambda _: None)
    return sum(any(span.name == ROOT for span in trace.spans) for trace in traces)


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rolling_update",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=1, help="rolling updates, one after the other (1)")
    parser.add_argument("--workers", type=int, default=2, help="that are replaced (2)")
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="from caller to caller (2)")
    typed = parser.parse_args()
    results: list[Result] = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for number in bar.track(range(typed.runs), description="updates"):
            with tempfile.TemporaryDirectory() as folder:
                results.append(asyncio.run(update(Path(folder), Plan(typed.workers, typed.every))))
            print(f"{number + 1:>3}  {results[-1]}", flush=True)
    return summed(results)


def summed(results: Sequence[Result]) -> int:
    """Print what all runs say together; the exit code."""
    calls = sum(result.calls for result in results)
    wrong = [fault for result in results for fault in result.faults]
    print(f"{len(results)} updates, {calls} calls: {'; '.join(wrong) or 'nobody unheard, nobody cut off'}")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
