"""Whether the targets are met at the caller's ear: `tuned` against the floor of the same runs, pooled, with intervals.

    python -m benchmarks.targets --output rehearsals/targets [NAME ...]

Three runs of forty sessions for each name; resumable, a run that ended is not run again. The table of docs/results.md
comes out. The floor's own noise is in the intervals: sessions are drawn again within their runs, the floor's too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from firstword.command.environment import load_environment
from firstword.rehearsal.environment import choose
from firstword.rehearsal.processes import ServerError
from firstword.rehearsal.rehearse import Rehearsal, rehearse
from firstword.rehearsal.result import RESULT_FILE, Quantiles, new_folder, save
from firstword.rehearsal.servers import Progress
from firstword.rehearsal.workers import FLOOR
from firstword.telemetry.record import Dispatch

TUNED = "tuned"
RESAMPLED = 10_000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """What is rehearsed, and how late the caller may hear the agent, as multiples of the floor."""

    plan: Rehearsal
    p50: float | None = None
    p90: float | None = None


_JOIN = Rehearsal((TUNED,), sessions=40, stay=1.0, hear_out=False)

TARGETS = {
    "join": Target(_JOIN, p50=1.00, p90=1.10),
    "four-at-once": Target(replace(_JOIN, concurrency=4), p90=1.10),
    "stranger": Target(replace(_JOIN, strangers=True), p50=1.35),
    "ahead": Target(replace(_JOIN, dispatch=Dispatch.AHEAD, ahead_by=2.0), p50=0.60),
}


@dataclass(frozen=True, slots=True)
class Run:
    """When the callers of one rehearsal heard the floor and the agent, seconds in the order of the calls; never: infinite."""

    floor: Floats
    tuned: Floats
    errors: int
    """Of the agent: nothing heard, or a start that failed or timed out."""
    ttfw_p90: float
    init_p90: float


def read(folder: Path) -> list[Run]:
    """The runs that ended."""
    runs: list[Run] = []
    for file in sorted(folder.glob("*/sessions.jsonl")):
        sessions = [json.loads(line) for line in file.read_text().splitlines()]
        heard = {name: [s["heard_s"] for s in sessions if s["profile"] == name] for name in (FLOOR, TUNED)}
        floor, tuned = (np.array([math.inf if s is None else s for s in heard[name]]) for name in (FLOOR, TUNED))
        figures = json.loads((file.parent / RESULT_FILE).read_text())["profiles"][TUNED]
        late = [figures[measure]["p90"] for measure in ("ttfw_s", "init_s")]
        ttfw, init = (math.inf if seconds is None else seconds for seconds in late)
        runs.append(Run(floor, tuned, figures["errors"], ttfw, init))
    return runs


def ratio(runs: Sequence[Run], q: float) -> tuple[float, float, float]:
    """Quantile of tuned over that of the floor, pooled, and its 95 % interval by bootstrap."""
    chance = np.random.default_rng(1)

    def again(values: Floats) -> Floats:
        return chance.choice(values, size=(RESAMPLED, len(values)))

    def of(values: Floats) -> Floats:
        return np.quantile(values, q, axis=-1, method="inverted_cdf")

    with np.errstate(invalid="ignore"):  # never over never
        pooled = of(np.concatenate([run.tuned for run in runs])) / of(np.concatenate([run.floor for run in runs]))
        tuned = of(np.concatenate([again(run.tuned) for run in runs], axis=1))
        replicates = tuned / of(np.concatenate([again(run.floor) for run in runs], axis=1))
    low, high = np.quantile(replicates, (0.025, 0.975))
    return float(pooled), float(low), float(high)


def table(output: Path) -> str:
    """What there is, as Markdown."""
    lines = [
        "| | sessions | errors | floor p50, p90, s | tuned p50, p90, s | x floor p50 | at most | x floor p90 | at most | TTFW p90, initialization p90 of the latest run, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    every: list[Run] = []
    for name, target in TARGETS.items():
        if runs := read(output / name):
            floor, tuned = np.concatenate([r.floor for r in runs]), np.concatenate([r.tuned for r in runs])
            every += runs
            cells = (
                f"{len(tuned)} in {len(runs)} runs",
                str(sum(run.errors for run in runs)),
                _seconds(floor),
                _seconds(tuned),
                _with_interval(*ratio(runs, 0.5)),
                _limit(target.p50),
                _with_interval(*ratio(runs, 0.9)),
                _limit(target.p90),
                f"{max(run.ttfw_p90 for run in runs):.3f}, {max(run.init_p90 for run in runs):.3f}",
            )
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    if every:
        callers, errors = sum(len(run.tuned) for run in every), sum(run.errors for run in every)
        lines += ["", f"{callers} callers of the agent in all, {errors} errors."]
    lines += ["", "First callers of a new worker against all others, heard, s:", ""]
    lines += ["| | first callers | median of the others |", "|---|---|---:|"]
    for name, target in TARGETS.items():
        if target.plan.concurrency == 1 and (runs := read(output / name)):
            first = ", ".join(f"{run.tuned[0]:.3f}" for run in runs)
            lines.append(f"| `{name}` | {first} | {np.median(np.concatenate([r.tuned[1:] for r in runs])):.3f} |")
    return "\n".join(lines)


def _seconds(values: Floats) -> str:
    found = Quantiles.of(list(values))
    return "-" if found is None else f"{found.p50:.3f}, {found.p90:.3f}"


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _limit(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


async def _measure(names: Sequence[str], runs: int, output: Path, bar: Bar) -> None:
    choice = await choose(load_environment())
    for name in names:
        target = TARGETS[name]
        for number in range(len(read(output / name)), runs):
            row = bar.add_task("starting", total=None)

            def report(now: Progress, *, row: object = row, title: str = f"{name} {number + 1}/{runs}") -> None:
                bar.update(row, description=f"{title}: {now.doing}"[:60], completed=now.done, total=now.total or None)  # type: ignore[arg-type]

            folder = new_folder(output / name)
            result = await rehearse(target.plan, choice, folder, report=report)
            bar.remove_task(row)
            if result.interrupted:
                return
            save(result, folder)


def main() -> None:
    """Rehearse what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.targets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(TARGETS)}; without it all")
    parser.add_argument("--output", type=Path, default=Path("rehearsals/targets"), help="its sessions")
    parser.add_argument("--runs", type=int, default=3, help="of each, those that were made before included (3)")
    parser.add_argument("--table", action="store_true", help="measure nothing, print the table of what there is")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in TARGETS]:
        parser.error(f"there is no {unknown[0]}; there is: {', '.join(TARGETS)}")
    if not options.table:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        try:
            with Bar(*columns, console=Console(stderr=True)) as bar:
                asyncio.run(_measure(options.names or list(TARGETS), options.runs, options.output, bar))
        except ServerError as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
    print(table(options.output))


if __name__ == "__main__":
    main()
