"""What observing a start costs before the first word: CPU of an agent's event loop with the record and without.

    python -m benchmarks.observation_cost --rounds 40

An agent in small, without LiveKit, on the real event loop: tasks that await six functions deep, timers, a socket's reads and writes,
calls in threads. They are mixed as in the start of LiveKit's quickstart agent, where 707 to 907 callbacks and chains of 5.5 functions
were counted, in 1.0 to 1.4 s (five starts, 2026-11-30). Each round runs it once with the record and once without, the order turned.
Prints the medians of the process's CPU time, and the difference with its 95 % interval by a paired bootstrap; what looking at a loop
that waits costs; and what the walk back costs after the first word. Exits 1 where the longest of the counted starts costs more than 8 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time

import numpy as np

from firstword.telemetry.loop_hooks import start_record, stop_record
from firstword.telemetry.loop_samples import LoopSampler
from firstword.telemetry.merged_pieces import merged
from firstword.telemetry.observed_path import observed_path

DEPTH = 4
LIMIT_MS = 8.0
CALLBACKS = 900
START_S = 1.4
"""Seconds of a start in which the loop is looked at."""


async def below(depth: int, future: asyncio.Future[None]) -> None:
    """Await a future through so many more functions."""
    if depth:
        await below(depth - 1, future)
    else:
        await future


async def wake(times: int) -> None:
    """Wait for a future that the loop resolves at once, from a chain of awaits."""
    loop = asyncio.get_running_loop()
    for _ in range(times):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await below(DEPTH, future)


async def echo(times: int) -> None:
    """Ask a socket and wait for its answer, which is there at once."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    with theirs:
        for _ in range(times):
            writer.write(b"?")
            theirs.send(b"!\n")
            await reader.readline()
        writer.close()


async def start() -> None:
    """Some 1,660 callbacks, half of which are a task's."""
    async with asyncio.TaskGroup() as group:
        for _ in range(60):
            group.create_task(wake(6))
        for _ in range(100):
            group.create_task(asyncio.sleep(0.001))
        group.create_task(echo(80))
        for _ in range(50):
            group.create_task(asyncio.to_thread(int))


def cpu_ms(*, observed: bool) -> tuple[float, int, float]:
    """CPU of the whole process, ms; the callbacks that were recorded; and CPU of the walk afterwards."""

    async def run() -> tuple[float, int, float]:
        loop = asyncio.get_running_loop()
        begin = time.process_time_ns()
        record = start_record(loop) if observed else None
        sampler = LoopSampler(record) if record is not None else None
        await start()
        if record is None or sampler is None:
            return (time.process_time_ns() - begin) / 1e6, 0, 0.0
        step, now = record.current, record.clock()
        sampler.stop()
        stop_record(record)
        recorded = time.process_time_ns()
        merged(observed_path(step, now, record.begin, record.steps), 33)
        return (recorded - begin) / 1e6, len(record.steps), (time.process_time_ns() - recorded) / 1e6

    return asyncio.run(run())


def looking_ms() -> float:
    """CPU of the whole process, ms, for looking at a loop that waits."""

    async def run(*, looked_at: bool) -> float:
        record = start_record(asyncio.get_running_loop())
        sampler = LoopSampler(record) if looked_at else None
        begin = time.process_time_ns()
        await asyncio.sleep(START_S)
        took = (time.process_time_ns() - begin) / 1e6
        if sampler is not None:
            sampler.stop()
        stop_record(record)
        return took

    return asyncio.run(run(looked_at=True)) - asyncio.run(run(looked_at=False))


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    cpu_ms(observed=True)
    on, off, callbacks, walks = np.empty(rounds), np.empty(rounds), 0, np.empty(rounds)
    for number in range(rounds):
        for observed in (True, False) if number % 2 else (False, True):
            took, steps, walk = cpu_ms(observed=observed)
            if observed:
                on[number], callbacks, walks[number] = took, steps, walk
            else:
                off[number] = took
    per_start = (on - off) * CALLBACKS / callbacks
    drawn = np.random.default_rng(0).integers(0, rounds, (10_000, rounds))
    low, high = np.quantile(np.median(per_start[drawn], axis=1), (0.025, 0.975))
    looking = float(np.median([looking_ms() for _ in range(5)]))
    cost = float(np.median(per_start)) + looking
    print(f"{callbacks} callbacks: {np.median(on):.2f} ms of CPU with the record, {np.median(off):.2f} ms without")
    print(f"of {CALLBACKS} callbacks: {np.median(per_start):.2f} ms, 95 % {low:.2f} to {high:.2f}")
    print(f"looking at a loop that waits for {START_S:g} s: {looking:.2f} ms")
    print(f"both: {cost:.2f} ms; at most {LIMIT_MS:g}")
    print(f"the walk back, after the first word: {np.median(walks):.2f} ms")
    return int(high + looking > LIMIT_MS)


if __name__ == "__main__":
    raise SystemExit(main())
