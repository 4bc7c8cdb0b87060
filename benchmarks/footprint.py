"""What a session and an idle process cost: the worker, all on, beside LiveKit's quickstart agent.

    python -m benchmarks.footprint --sessions 20

Called in turn, one caller at a time, the order turned each round. CPU is that of all of the
worker's processes from rest to rest: the job, the replacement of its process, and what the main process does for both.
Memory is what a process holds alone (USS): the job's when the caller has heard it for a while, an idle one's at rest; and
what the worker's processes at rest hold together (PSS).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import secrets
import sys
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from livekit import api

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.rehearsal.calls import calling
from firstword.rehearsal.environment import LOCAL, own_store, running_servers
from firstword.rehearsal.stack import Stack
from firstword.rehearsal.workers import RunningWorker, running_worker

QUICKSTART = Path(__file__).with_name("quickstart_worker.py")
STAY_S = 2.0
"""After the first word; the deferred set-up is over by then."""
PATIENCE_S = 20.0
IDLE = 2


@dataclass(frozen=True, slots=True)
class Side:
    """One worker, and what it has cost so far."""

    worker: RunningWorker
    stack: Stack
    cpu_s: list[float] = field(default_factory=list[float])
    """A session."""
    job_mb: list[float] = field(default_factory=list[float])
    idle_mb: list[float] = field(default_factory=list[float])
    worker_mb: list[float] = field(default_factory=list[float])

    async def session(self, number: int) -> None:
        """Call once, and take down what it cost."""
        await self.worker.at_rest()
        before = self._held()
        self.idle_mb.extend(before.values())
        self.worker_mb.append(sum(each.memory_full_info().pss for each in processes(self.worker)) / 2**20)
        began = cpu_s(self.worker)
        await self._call(number, frozenset(before))
        await self.worker.at_rest()
        self.cpu_s.append(cpu_s(self.worker) - began)

    async def _call(self, number: int, idle: frozenset[int]) -> None:
        metadata, name = json.dumps({"account": ACCOUNTS[number % len(ACCOUNTS)].id}), self.worker.agent_name
        async with (
            api.LiveKitAPI(self.stack.livekit_url, self.stack.api_key, self.stack.api_secret) as rooms,
            calling(self.stack, rooms, room=secrets.token_hex(6), agent_name=name, metadata=metadata) as caller,
        ):
            await caller.connect()
            await caller.hear(PATIENCE_S)
            await asyncio.sleep(STAY_S)
            held = self._held()
            self.job_mb.append(max((held[pid] for pid in idle if pid in held), default=math.nan))

    def _held(self) -> dict[int, float]:
        """MB that each process which may have a job holds alone, by process id: the children of the forkserver."""
        held: dict[int, float] = {}
        for child in psutil.Process(self.worker.pid).children():
            if "forkserver" in " ".join(child.cmdline()):
                for process in child.children():
                    with contextlib.suppress(psutil.Error):
                        held[process.pid] = process.memory_full_info().uss / 2**20
        return held


def processes(worker: RunningWorker) -> list[psutil.Process]:
    """The worker's own and all below it."""
    main = psutil.Process(worker.pid)
    return [main, *main.children(recursive=True)]


def cpu_s(worker: RunningWorker) -> float:
    """Seconds of the worker's processes, those that have ended too: who reaped them has it."""
    seconds = 0.0
    for process in processes(worker):
        with contextlib.suppress(psutil.Error):
            seconds += math.fsum(process.cpu_times()[:4])
    return seconds


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncGenerator[dict[str, Side]]:
    """Both workers, warm."""
    async with contextlib.AsyncExitStack() as everything:
        servers = await everything.enter_async_context(running_servers(LOCAL, folder))
        sides: dict[str, Side] = {}
        for name, entrypoint in (("quickstart", QUICKSTART), ("tuned", None)):
            worker = running_worker(
                name,
                agent_name=name,
                folder=folder,
                stack=servers.stack,
                environment={
                    **servers.variables,
                    **own_store(LOCAL, folder, name),
                    "FIRSTWORD_IDLE_PROCESSES": str(IDLE),
                },
                entrypoint=entrypoint,
            )
            sides[name] = Side(await everything.enter_async_context(worker), servers.stack)
            await sides[name].worker.registered()
        yield sides


async def measure(sessions: int) -> dict[str, Side]:
    """Call each so often."""
    with tempfile.TemporaryDirectory() as name:
        async with running(Path(name)) as sides:
            for number in range(sessions):
                for side in sorted(sides, reverse=number % 2 == 0):
                    await sides[side].session(number)
                print(f"\r{number + 1} of {sessions} rounds", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
            return sides


def shown(values: list[float], digits: int) -> str:
    """Median, and where eight of ten lie."""
    low, median, high = np.quantile(values, (0.1, 0.5, 0.9), method="inverted_cdf")
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.footprint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sessions", type=int, default=20, help="of each (20)")
    sides = asyncio.run(measure(parser.parse_args().sessions))
    print(
        "| median (p10 to p90) | CPU, s a session | job's memory, MB | idle process's, MB | all of the worker's at rest, MB |"
    )
    print("|---|---:|---:|---:|---:|")
    for name, side in sides.items():
        memory = " | ".join(shown(each, 0) for each in (side.job_mb, side.idle_mb, side.worker_mb))
        print(f"| {name} | {shown(side.cpu_s, 2)} | {memory} |")


if __name__ == "__main__":
    main()
