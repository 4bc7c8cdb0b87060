"""How many calls a machine carries: calls go on, and new callers of the worker and of the floor come in turn.

    python -m benchmarks.sizing --most 16

At each level so many calls are held on the `tuned` worker, whose callers listen and say something now and then. Beside them callers come
one at a time, to the worker and to the floor in turn, and wait for the first word. The worker carries a level when its p90 is at most
1.10 of the floor's, which meets the same load. Ends at the first level that it does not carry. Callers, LiveKit server and simulated
providers are on this machine too, so a worker alone on such a machine carries more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import secrets
import tempfile
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

from livekit import api
from rich.console import Console
from rich.progress import track

from benchmarks.footprint import cpu_s, processes
from benchmarks.in_turn import Side, heard, started
from firstword.rehearsal.callers import RehearsalCaller
from firstword.rehearsal.calls import calling
from firstword.rehearsal.result import Quantiles
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.workers import FLOOR, RunningWorker

LEVELS = (1, 2, 4, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 32)
LIMIT = 1.10
"""Most that the worker's p90 may be of the floor's."""
PATIENCE_S = 20.0
SETTLED_S = 3.0
"""Seconds after the last held call began, before the first new caller comes."""
SPEAKS_EVERY_S = 5.0
"""Seconds between what a held caller says."""


@dataclass(frozen=True, slots=True)
class Level:
    """What callers waited while so many calls were held, in seconds; infinite for who heard nothing."""

    calls: int
    tuned: Sequence[float]
    floor: Sequence[float]
    cores: float
    """Cores that the worker used while the calls were held and nobody new came."""
    memory_mb: float
    """What the worker's processes hold together (PSS)."""

    @property
    def ratio(self) -> float:
        """Returns the worker's p90 divided by the floor's."""
        return p90(self.tuned) / p90(self.floor)

    @property
    def is_carried(self) -> bool:
        """Returns whether new callers of the worker were heard, and waited hardly longer than those of the floor."""
        return math.isfinite(p90(self.tuned)) and self.ratio <= LIMIT

    @property
    def row(self) -> str:
        """Returns a line of the table."""
        return f"| {self.calls} | {p90(self.floor):.3f} | {p90(self.tuned):.3f} | {self.ratio:.2f} | {self.cores:.2f} | {self.memory_mb:.0f} |"


HEAD = "| calls held | floor p90, s | worker p90, s | ratio | worker's cores | worker's MB |\n|---:|---:|---:|---:|---:|---:|"


def p90(seconds: Sequence[float]) -> float:
    """Returns the order statistic; NaN of no callers."""
    found = Quantiles.of(seconds)
    return math.nan if found is None else found.p90


@contextlib.asynccontextmanager
async def held(stack: Stack, rooms: api.LiveKitAPI, agent_name: str, calls: int) -> AsyncGenerator[None]:
    """So many calls that go on. Raises TimeoutError if one of them hears nothing."""
    async with contextlib.AsyncExitStack() as running:
        speaking: list[asyncio.Task[None]] = []
        for _ in range(calls):
            room = f"held-{secrets.token_hex(6)}"
            caller = await running.enter_async_context(calling(stack, rooms, room=room, agent_name=agent_name))
            await caller.connect()
            await caller.hear(PATIENCE_S)
            speaking.append(asyncio.create_task(speak(caller)))
        try:
            await asyncio.sleep(SETTLED_S)
            yield
        finally:
            for task in speaking:
                task.cancel()
            await asyncio.gather(*speaking, return_exceptions=True)


async def speak(caller: RehearsalCaller) -> None:
    """Say something now and then, until cancelled."""
    while True:
        await asyncio.sleep(SPEAKS_EVERY_S)
        await caller.say(440.0, 1.0)


async def level(stack: Stack, workers: dict[str, RunningWorker], calls: int, sessions: int) -> Level:
    """One level: calls are held, and so many new callers of each side come in turn."""
    found: dict[str, list[float]] = {name: [] for name in workers}
    tuned = workers["tuned"]
    async with (
        api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
        held(stack, rooms, tuned.agent_name, calls),
    ):
        began = cpu_s(tuned)
        await asyncio.sleep(SPEAKS_EVERY_S)
        cores = (cpu_s(tuned) - began) / SPEAKS_EVERY_S
        memory = sum(each.memory_full_info().pss for each in processes(tuned)) / 2**20
        for number in track(range(sessions), f"{calls} calls held", console=Console(stderr=True), transient=True):
            for name in list(workers)[:: 1 if number % 2 == 0 else -1]:
                found[name].append(await heard(stack, secrets.token_hex(6), workers[name].agent_name, "", None))
                await asyncio.sleep(1.0)
    for worker in workers.values():
        await worker.at_rest()
    return Level(calls, found["tuned"], found[FLOOR], cores, memory)


async def measure(least: int, most: int, sessions: int) -> list[Level]:
    """Level after level, until one is too high; prints each."""
    levels: list[Level] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with LocalStack(folder) as stack, contextlib.AsyncExitStack() as running:
            sides = {FLOOR: Side(profile=FLOOR), "tuned": Side()}
            workers = await started(sides, stack, folder, running)
            for calls in (each for each in LEVELS if least <= each <= most):
                try:
                    levels.append(await level(stack, workers, calls, sessions))
                except TimeoutError:
                    print(f"one of {calls} calls heard nothing within {PATIENCE_S:g} s", flush=True)
                    break
                print(levels[-1].row, flush=True)
                if not levels[-1].is_carried:
                    break
    return levels


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sizing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--least", type=int, default=1, help="calls held at the first level (1)")
    parser.add_argument("--most", type=int, default=16, help="calls held at the last level (16)")
    parser.add_argument("--sessions", type=int, default=10, help="new callers of each side at a level (10)")
    typed = parser.parse_args()
    print(HEAD)
    levels = asyncio.run(measure(typed.least, typed.most, typed.sessions))
    carried = [each.calls for each in levels if each.is_carried]
    print(f"carried: {max(carried, default=0)} calls (p90 at most {LIMIT:.2f} of the floor's)")
    return int(not carried)


if __name__ == "__main__":
    raise SystemExit(main())
