"""What each improvement is worth, alone and together: how much earlier the caller hears, what it costs in CPU and memory.

    python -m benchmarks.improvements --output rehearsals/improvements

Blocks of up to eleven cells and the floor beside them go through `firstword.rehearsal.rehearse`, so that cells that are compared meet
the same moods of the machine; the tables of docs/results.md come out.
Resumable: each finished block is a file `blocks/*/cells.jsonl`, and what is counted is what lies there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from benchmarks.improvement_tables import Cell, Key, Lived, cells, quantiles, tables
from firstword.command.environment import load_environment
from firstword.rehearsal.environment import Choice, choose
from firstword.rehearsal.processes import ServerError
from firstword.rehearsal.rehearse import Rehearsal, rehearse
from firstword.rehearsal.result import TRACES, Result, new_folder
from firstword.rehearsal.servers import Progress
from firstword.rehearsal.workers import FLOOR
from firstword.telemetry.record import Dispatch
from firstword.tuning.files import Files
from firstword.tuning.sources import Query
from firstword.tuning.start import RecordedStart, start_of

CELLS = 11
"""At most in a block: `baseline` with each flag added to it, or `tuned` with each taken from it."""
STAY_S = 1.0
"""How long a caller stays after the first word: the deferred set-up takes half of it."""


def next_block(wanted: Sequence[Cell], done: Mapping[Key, int], chance: np.random.Generator) -> list[Cell]:
    """Up to `CELLS` cells of one family that have the least of their sessions; empty when all have all."""
    missing = [cell for cell in wanted if done.get(cell.key, 0) < cell.sessions]
    chance.shuffle(missing)
    order = sorted(missing, key=lambda cell: (done.get(cell.key, 0) / cell.sessions, cell.family))
    return [cell for cell in order if cell.family == order[0].family][:CELLS]


def measure(block: Sequence[Cell], sessions: int, choice: Choice, output: Path, bar: Bar) -> list[Lived] | None:
    """One rehearsal of these cells and the floor; None when it was interrupted, and nothing of it is kept.

    Raises ServerError.
    """
    folder = new_folder(output / "blocks")
    dispatch = Dispatch(block[0].dispatch)
    plan = Rehearsal(tuple(cell.profile for cell in block), sessions, dispatch, stay=STAY_S, hear_out=False)
    meter = Meter(bar)
    result = asyncio.run(rehearse(plan, choice, folder, report=meter))
    if result.interrupted:
        return None
    lived = list(_lived(result, folder, meter))
    unfinished = folder / "cells.jsonl.new"
    unfinished.write_text("".join(json.dumps(asdict(session)) + "\n" for session in lived))
    unfinished.rename(folder / "cells.jsonl")
    return lived


def _lived(result: Result, folder: Path, meter: Meter) -> Iterator[Lived]:
    starts: dict[str | None, RecordedStart] = {}
    for profile in result.profiles:
        if profile != FLOOR:
            traces = Files(folder / TRACES / profile).traces(Query(), lambda _: None)
            starts |= {start.room_sid: start for start in map(start_of, traces)}
    for number, session in enumerate(result.sessions):
        start = starts.get(session.room_sid)
        cpu, memory = meter.of_session(session.profile, number)
        yield Lived(
            session.profile,
            result.dispatch.value,
            folder.name,
            session.heard_s,
            ttfw_s=start and start.ttfw_s,
            init_s=start and start.init_s,
            path=start and _seconds_on_path(start),
            cpu_s=cpu,
            memory_mb=memory,
        )


def _seconds_on_path(start: RecordedStart) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for piece in start.path:
        seconds[piece.name] = seconds.get(piece.name, 0.0) + piece.duration_us / 1e6
    return seconds


@dataclass(frozen=True, slots=True)
class Used:
    """By the processes of one worker."""

    cpu_s: float
    """With that of processes that ended: who reaped them has it."""
    pids: frozenset[int]


class Meter:
    """Looks at the workers' processes whenever a rehearsal, of callers one by one, says how it goes.

    It speaks before each session, when all workers are at rest, and after it, when the caller has just hung up.
    """

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._row = bar.add_task("starting", total=None)
        self._at_rest: dict[int, dict[str, Used]] = {}
        self._hung_up: dict[int, dict[int, float]] = {}

    def __call__(self, now: Progress) -> None:
        """Take in a report."""
        self._bar.update(self._row, description=_short(now.doing), completed=now.done, total=now.total or None)
        if now.doing.startswith("session "):
            if now.done not in self._at_rest:
                self._hung_up[now.done] = memory()
            self._at_rest[now.done] = used()
        elif now.doing.startswith("waiting "):
            self._bar.remove_task(self._row)

    def of_session(self, profile: str, number: int) -> tuple[float | None, float | None]:
        """Seconds of CPU and MB of one session; None of the last one, whose end nobody reports."""
        before, after = (self._at_rest.get(n, {}).get(profile) for n in (number, number + 1))
        if before is None or after is None or number + 2 not in self._at_rest:
            return None, None
        ended = before.pids - after.pids
        held = [self._hung_up[number + 1][pid] for pid in ended if pid in self._hung_up[number + 1]]
        return after.cpu_s - before.cpu_s, max(held, default=None)


def used() -> dict[str, Used]:
    """What each worker among our children has used so far, by profile."""
    cpu: dict[str, float] = {}
    pids: dict[str, set[int]] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            profile = process.environ().get("FIRSTWORD_PROFILE")
            times = process.cpu_times()
            if profile is not None:
                cpu[profile] = cpu.get(profile, 0.0) + math.fsum(times[:4])  # own and children's, user and system
                pids.setdefault(profile, set()).add(process.pid)
    return {profile: Used(seconds, frozenset(pids[profile])) for profile, seconds in cpu.items()}


def memory() -> dict[int, float]:
    """What each process of a worker holds alone, MB by process id."""
    held: dict[int, float] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "FIRSTWORD_PROFILE" in process.environ():
                held[process.pid] = process.memory_full_info().uss / 2**20
    return held


def read(output: Path) -> list[Lived]:
    """Every session of every finished block."""
    files = sorted(output.glob("blocks/*/cells.jsonl"))
    return [Lived(**json.loads(line)) for file in files for line in file.read_text().splitlines()]


# --- the command


def main() -> None:
    """Go on where the last run ended, until all is measured or the time is up; then write the tables."""
    options = _options()
    wanted = cells(options.part or ["alone", "factorial"], options.sessions)
    names = [cell.name for cell in wanted]
    if unknown := [name for name in options.only if name not in names]:
        sys.exit(f"--only {unknown[0]}: there is no such cell; there is: {', '.join(names)}")
    chosen = [cell for cell in wanted if not options.only or cell.name in options.only]
    options.output.mkdir(parents=True, exist_ok=True)
    if not options.tables:
        try:
            _measure_all(chosen, options)
        except ServerError as error:
            sys.exit(str(error))
    if sessions := read(options.output):
        text = tables(sessions, wanted)
        (options.output / "tables.md").write_text(text + "\n")
        print(text)
        print(f"\nWritten to {options.output / 'tables.md'}", file=sys.stderr)


def _measure_all(chosen: Sequence[Cell], options: argparse.Namespace) -> None:
    deadline = time.monotonic() + 60 * options.minutes
    choice = asyncio.run(choose(load_environment()))
    chance = np.random.default_rng()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task("sessions of all cells", total=sum(cell.sessions for cell in chosen))
        while time.monotonic() < deadline:
            done: dict[Key, int] = {}
            for session in read(options.output):
                key = session.dispatch, session.profile
                done[key] = done.get(key, 0) + 1
            bar.update(row, completed=sum(min(done.get(cell.key, 0), cell.sessions) for cell in chosen))
            block = next_block(chosen, done, chance)
            if not block:
                return
            left = max(cell.sessions - done.get(cell.key, 0) for cell in block)
            lived = measure(block, min(options.block, left), choice, options.output, bar)
            if lived is None:
                bar.console.print("interrupted; the block that was cut off will be measured again")
                return
            heard = ", ".join(f"{cell.name} {_heard(lived, cell.profile)}" for cell in block)
            bar.console.print(f"{block[0].dispatch}: floor {_heard(lived, FLOOR)}, {heard}", soft_wrap=True)
        bar.console.print("the time is up; the same command goes on from here")


def _heard(sessions: Sequence[Lived], profile: str) -> str:
    return f"{quantiles([session for session in sessions if session.profile == profile]).p50:.3f} s"


def _short(text: str) -> str:
    return text if len(text) < 60 else f"{text[:57]}..."


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.improvements",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""parts:
  alone      baseline and tuned, each flag added to baseline, each flag taken from tuned: 22 cells, dispatch join
  factorial  32 sets of flags, of resolution IV, dispatch join and ahead: main effects, and pairs that help or hurt

cells are named baseline, tuned, baseline+FLAG, tuned-FLAG, run-01-join to run-32-join, run-01-ahead to run-32-ahead

examples:
  what one flag is worth, in two minutes
    python -m benchmarks.improvements --only baseline --only baseline+smart-greeting --sessions 10
  an hour of all of it; the same command again goes on
    python -m benchmarks.improvements --minutes 60
  the tables of what there is
    python -m benchmarks.improvements --tables

Up to twelve workers run at once, each with two warm processes (8 GB), called one by one: keep the machine free of other work.""",
    )
    parser.add_argument("--output", type=Path, default=Path("rehearsals/improvements"), help="its sessions and tables")
    parser.add_argument("--part", action="append", choices=["alone", "factorial"], help="repeatable; without it both")
    parser.add_argument("--only", action="append", default=[], metavar="CELL", help="only this cell; repeatable")
    parser.add_argument("--sessions", type=_count, help="of each cell at least; without it 30 (alone), 10 (factorial)")
    parser.add_argument(
        "--block", type=_count, default=10, help="sessions of a cell before others have their turn (10)"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no block after that (60)")
    parser.add_argument("--tables", action="store_true", help="measure nothing, write the tables of what there is")
    return parser.parse_args()


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return value


if __name__ == "__main__":
    main()
