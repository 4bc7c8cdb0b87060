"""How soon a worker takes jobs, and what that costs: LiveKit's quickstart agent, and ours with all off and all on.

    python -m benchmarks.worker_ready --starts 10

In turn, the order turned each round. Ready is when the worker has registered, with its idle processes up; from an empty
cache, so that `tuned` makes its greetings first. CPU is that of all the worker's processes by then.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.footprint import QUICKSTART, cpu_s, shown
from firstword.rehearsal.surroundings import LOCAL, Surroundings, opened, own_store
from firstword.rehearsal.workers import running_worker

SIDES = {"quickstart": QUICKSTART, "baseline": None, "tuned": None}
"""By name: the file of the worker, where it isn't ours."""
IDLE = 1


async def start(name: str, place: Surroundings) -> tuple[float, float]:
    """One start in an empty folder: seconds until it was ready, and seconds of CPU."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        worker = running_worker(
            name,
            agent_name=name,
            folder=Path(folder),
            stack=place.stack,
            environment={
                **place.environment,
                **own_store(LOCAL, Path(folder), name),
                "FIRSTWORD_IDLE_PROCESSES": str(IDLE),
            },
            entrypoint=SIDES[name],
        )
        async with worker as running:
            await running.registered()
            return time.monotonic() - began, cpu_s(running)


async def measure(starts: int) -> dict[str, list[tuple[float, float]]]:
    """So many starts of each."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        async with opened(LOCAL, Path(folder)) as place:
            names = list(SIDES)
            for number in track(range(starts), "starts of each", console=Console(stderr=True)):
                turn = number % len(names)
                for name in (*names[turn:], *names[:turn]):
                    found[name].append(await start(name, place))
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.worker_ready",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--starts", type=int, default=10, help="of each (10)")
    found = asyncio.run(measure(parser.parse_args().starts))
    print("| median (p10 to p90) | ready after, s | CPU by then, s |")
    print("|---|---:|---:|")
    for name, starts in found.items():
        print(f"| {name} | {shown([ready for ready, _ in starts], 2)} | {shown([cpu for _, cpu in starts], 2)} |")


if __name__ == "__main__":
    main()
