"""How soon a worker takes jobs, and what that costs: LiveKit's quickstart agent, and ours with all off and all on.

    python -m benchmarks.worker_ready --starts 10
    python -m benchmarks.worker_ready --starts 20 --before ../before

In turn, the order turned each round. Ready is when the worker has registered, with its idle processes up; from an empty
cache, so that `tuned` makes its greetings first. CPU is that of all the worker's processes by then. `--before` is another
checkout that is set up (`make setup`): its `tuned` worker starts in turn with ours, and no other does.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.footprint import QUICKSTART, cpu_s, shown
from benchmarks.in_turn import Side, difference, other_checkout
from firstword.rehearsal.environment import LOCAL, RunningServers, own_store, running_servers
from firstword.rehearsal.workers import running_worker

SIDES = {"quickstart": Side("quickstart", entrypoint=QUICKSTART), "baseline": Side("baseline"), "tuned": Side("tuned")}
IDLE = 1


async def start(side: Side, servers: RunningServers) -> tuple[float, float]:
    """One start in an empty folder: seconds until it was ready, and seconds of CPU."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        worker = running_worker(
            side.profile,
            agent_name=side.profile,
            folder=Path(folder),
            stack=servers.stack,
            environment={
                **servers.variables,
                **own_store(LOCAL, Path(folder), side.profile),
                "FIRSTWORD_IDLE_PROCESSES": str(IDLE),
            },
            entrypoint=side.entrypoint,
            python=side.python,
        )
        async with worker as running:
            await running.registered()
            return time.monotonic() - began, cpu_s(running)


async def measure(sides: Mapping[str, Side], starts: int) -> dict[str, list[tuple[float, float]]]:
    """So many starts of each."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        async with running_servers(LOCAL, Path(folder)) as servers:
            names = list(sides)
            for number in track(range(starts), "starts of each", console=Console(stderr=True)):
                turn = number % len(names)
                for name in (*names[turn:], *names[:turn]):
                    found[name].append(await start(sides[name], servers))
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.worker_ready",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--starts", type=int, default=10, help="of each (10)")
    parser.add_argument("--before", type=Path, help="a checkout of the version before")
    typed = parser.parse_args()
    sides = {"now": Side(), "before": other_checkout(typed.before)} if typed.before else SIDES
    found = asyncio.run(measure(sides, typed.starts))
    print("| median (p10 to p90) | ready after, s | CPU by then, s |")
    print("|---|---:|---:|")
    for name, starts in found.items():
        print(f"| {name} | {shown([ready for ready, _ in starts], 2)} | {shown([cpu for _, cpu in starts], 2)} |")
    if typed.before:
        ready = {name: [seconds for seconds, _ in starts] for name, starts in found.items()}
        print(f"ready, now against before: {difference(ready['now'], ready['before'])}")


if __name__ == "__main__":
    main()
