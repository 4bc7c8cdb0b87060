"""What the telemetry of a start costs before its first word: CPU time of a 20-task start, with it and without.

    python -m benchmarks.telemetry_cost

Each task takes 20 steps of the event loop that do nothing, so that what is measured is the plan's run, the spans and the
timing of steps. `bare` runs the same coroutines in the same order with asyncio alone. Interleaved; the objective is 3 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from firstword.telemetry.export import Exporting
from firstword.telemetry.plan import Plan
from firstword.telemetry.run import Run
from firstword.telemetry.spans import StartTrace
from firstword.telemetry.vocabulary import CONNECT, WAIT

TASKS, STEPS = 20, 20


async def steps() -> None:
    """The work of every task."""
    for _ in range(STEPS):
        await asyncio.sleep(0)


def a_plan(ended: list[float]) -> Plan:
    """Twenty tasks: a chain of four closes the phases, the others stand beside it and are needed by the first word."""
    plan = Plan("session.startup")

    async def room() -> None:
        await steps()

    async def caller(room: None) -> None:
        await steps()

    plan.task(closes=CONNECT)(room)
    plan.task(closes=WAIT)(caller)
    beside = [f"task_{number}" for number in range(TASKS - 3)]
    for name in beside:

        async def task() -> None:
            await steps()

        task.__name__ = name
        plan.task()(task)
    namespace: dict[str, object] = {"steps": steps, "ended": ended, "time": time}
    source = (
        f"async def playout(caller, {', '.join(beside)}):\n    await steps()\n    ended.append(time.process_time())\n"
    )
    exec(source, namespace)  # a function with as many parameters as there are tasks
    plan.first_word(namespace["playout"])  # type: ignore[arg-type]
    plan.check()
    return plan


async def bare(ended: list[float]) -> None:
    """The same work without a plan, a span or a clock."""

    async def chain() -> None:
        await steps()
        await steps()

    async with asyncio.TaskGroup() as group:
        group.create_task(chain())
        for _ in range(TASKS - 3):
            group.create_task(steps())
    await steps()
    ended.append(time.process_time())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=300, help="of each kind")
    starts = parser.parse_args().starts
    exporting = Exporting([InMemorySpanExporter()])
    ended: list[float] = []
    plan = a_plan(ended)
    cost: dict[str, list[float]] = {"with telemetry": [], "bare": []}
    for number in range(starts + 20):
        for kind in cost:
            began = time.process_time()
            if kind == "bare":
                asyncio.run(bare(ended))
            else:
                asyncio.run(Run(plan.shape({}), given={}, trace=StartTrace(exporting)).perform())  # type: ignore[arg-type]
            if number >= 20:  # the first ones warm up
                cost[kind].append((ended[-1] - began) * 1e3)
    exporting.shutdown()
    for kind, values in cost.items():
        deciles = statistics.quantiles(values, n=10)
        print(f"{kind:>15}: median {statistics.median(values):.2f} ms, p90 {deciles[8]:.2f} ms of CPU")
    extra = sorted(a - b for a, b in zip(cost["with telemetry"], cost["bare"], strict=True))
    print(
        f"{'telemetry':>15}: median {statistics.median(extra):.2f} ms, p90 {extra[int(0.9 * len(extra))]:.2f} ms of CPU"
    )


if __name__ == "__main__":
    main()
