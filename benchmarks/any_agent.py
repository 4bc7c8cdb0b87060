"""Any agent at the floor with `speak_first`: LiveKit's quickstart agent as it is and with it, the shipped worker, the floor; in turn.

    python -m benchmarks.any_agent --kept rehearsals/any_agent.jsonl
    python -m benchmarks.any_agent --kept rehearsals/any_agent.jsonl --rounds 0
    python -m benchmarks.any_agent --kept rehearsals/any_agent.jsonl --only "four at once"

Five workers on one real LiveKit server, with simulated providers. A round calls each side that is due in it, the order turned;
the floor always. Each round is appended to the file as it ends; with `--rounds 0` what the file holds is printed. Not cached is,
of `speak_first`, a greeting that a function writes and nobody owns; of the shipped worker, a caller who never called before.

Prints what callers waited, and each side's p50 and p90 as multiples of the floor's in the same rounds, with 95 % intervals by a bootstrap
over the rounds. Exits 1 where `speak_first` with a cached greeting is above 1.05 of the floor at p50 or 1.15 at p90, or above 1.10
at p90 with four callers at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.in_turn import RESAMPLED, Seconds, Side, heard, started
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.sql_store import SQLStore
from firstword.rehearsal.environment import store_file
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.workers import FLOOR, RunningWorker

HERE = Path(__file__).parent
SHIPPED = "shipped"
NOT_CACHED = " not cached"
"""At the end of a side's name: its callers find no greeting that is cached."""
IDLE = {"FIRSTWORD_IDLE_PROCESSES": "4"}
AHEAD_S = 2.0
FEWEST_ROUNDS = 8
"""Rounds without which nothing is said to be met."""


def speaking_first(form: str) -> Side:
    """The quickstart agent with `speak_first`."""
    return Side(form, {**IDLE, "ANY_AGENT": form}, entrypoint=HERE / "any_agent_worker.py")


SIDES = {
    FLOOR: Side(FLOOR, IDLE),
    SHIPPED: Side("tuned", IDLE),
    "speak_first": speaking_first("cached"),
    f"speak_first{NOT_CACHED}": speaking_first("not_cached"),
    "quickstart": Side("quickstart", IDLE, entrypoint=HERE / "any_agent_quickstart.py"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One way of calling, and the sides that are called so."""

    name: str
    every: Mapping[str, int]
    """Side -> in which rounds it is called: 1 is each, 2 each second. All are called with the floor."""
    ahead_by: float | None = None
    """Seconds that the agent comes before its callers; else with them."""
    at_once: int = 1
    """Callers at the same time, all of one side."""
    most: Mapping[float, float] | None = None
    """Quantile -> the highest multiple of the floor's at which `speak_first` is as promised."""


ALL = {"speak_first": 1, SHIPPED: 1, f"speak_first{NOT_CACHED}": 2, f"{SHIPPED}{NOT_CACHED}": 2}
CASES = (
    Case("join", {**ALL, "quickstart": 8}, most={0.5: 1.05, 0.9: 1.15}),
    Case("ahead", {side: 2 * every for side, every in ALL.items()}, ahead_by=AHEAD_S),
    Case("four at once", {"speak_first": 4, SHIPPED: 4}, at_once=4, most={0.9: 1.10}),
)


@dataclass(frozen=True, slots=True)
class Called:
    """What the callers of one case waited in one round: side -> seconds, one of each caller."""

    case: str
    waited: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class RunningSides:
    """What runs for as long as calls are made."""

    stack: Stack
    folder: Path
    workers: Mapping[str, RunningWorker]

    async def call(self, side: str, number: int, case: Case) -> list[float]:
        """Seconds that each caller of this side waited in round `number`."""
        worker = side.removesuffix(NOT_CACHED) if side not in self.workers else side
        account = ACCOUNTS[number % len(ACCOUNTS)]
        if side not in self.workers:
            account = replace(account, id=f"stranger-{secrets.token_hex(4)}")
            store = SQLStore(f"sqlite+aiosqlite:///{store_file(self.folder, worker)}")
            try:
                await store.save(account)
            finally:
                await store.aclose()
        rooms = [secrets.token_hex(6) for _ in range(case.at_once)]
        name = self.workers[worker].agent_name
        told = [SIDES[worker].metadata(account.id, room) for room in rooms]
        callers = (
            heard(self.stack, *each, case.ahead_by) for each in zip(rooms, [name] * len(rooms), told, strict=True)
        )
        waited = await asyncio.gather(*callers)
        for each in self.workers.values():
            await each.at_rest()
        return list(waited)


async def measure(cases: Sequence[Case], rounds: int, minutes: float, kept: Path) -> None:
    """Call, and append each case of each round to the file as it ends. Ends after `rounds`, or the minutes."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as name, Progress(*columns, console=Console(stderr=True)) as bar:
        folder, row = Path(name), bar.add_task("starting", total=rounds)
        async with LocalStack(folder) as stack, contextlib.AsyncExitStack() as running:
            sides = RunningSides(stack, folder, await started(SIDES, stack, folder, running))
            until = time.monotonic() + 60 * minutes
            for number in range(rounds):
                for case in cases:
                    due = [side for side, every in case.every.items() if number % every == 0]
                    if not due:
                        continue
                    # also turned in half of each second, each fourth round
                    order, waited = [FLOOR, *due][:: -1 if number.bit_count() % 2 else 1], dict[str, list[float]]()
                    for side in order:
                        bar.update(row, description=f"{case.name}: {side}")
                        waited[side] = await sides.call(side, number, case)
                    with kept.open("a") as file:
                        file.write(json.dumps({"case": case.name, "waited": waited}) + "\n")
                bar.advance(row)
                passed = minutes - (until - time.monotonic()) / 60
                bar.console.print(f"round {number + 1} of {rounds} after {passed:.1f} minutes")
                if time.monotonic() > until:
                    return


def read(kept: Path) -> list[Called]:
    """What the file holds."""
    lines = kept.read_text().splitlines() if kept.exists() else []
    return [Called(**json.loads(line)) for line in lines]


def against_floor(side: Seconds, floor: Seconds, quantile: float) -> tuple[float, float, float]:
    """The side's quantile as a multiple of the floor's, and its 95 % interval. Both of shape rounds x callers."""
    drawn = np.random.default_rng(0).integers(0, len(side), (RESAMPLED, len(side)))

    def again(waited: Seconds) -> Seconds:
        return _quantile(waited[drawn].reshape(RESAMPLED, -1), quantile)

    with np.errstate(invalid="ignore"):  # never over never
        low, high = np.quantile(again(side) / again(floor), (0.025, 0.975))
        return float(_quantile(side.ravel(), quantile) / _quantile(floor.ravel(), quantile)), float(low), float(high)


def _quantile(waited: Seconds, quantile: float) -> Seconds:
    """As one of the callers waited, since one who heard nothing waited forever."""
    return np.quantile(waited, quantile, axis=-1, method="inverted_cdf")


def report(rounds: Sequence[Called]) -> bool:
    """Prints a table. Returns whether all is as promised, in enough rounds."""
    print("| case | side | callers | p50, p90, s | of the floor's p50 | of its p90 |")
    print("|---|---|---:|---:|---:|---:|")
    met = True
    for case in CASES:
        called = [each.waited for each in rounds if each.case == case.name]
        for side in (FLOOR, *case.every):
            pairs = [(waited[side], waited[FLOOR]) for waited in called if side in waited]
            if not pairs:
                met = met and side != "speak_first"
                continue
            waited, floor = (np.array(each) for each in zip(*pairs, strict=True))
            shown = [f"{float(_quantile(waited.ravel(), q)):.3f}" for q in (0.5, 0.9)]
            multiples = {q: against_floor(waited, floor, q) for q in (0.5, 0.9)} if side != FLOOR else {}
            cells = [f"{ratio:.3f} ({low:.3f} to {high:.3f})" for ratio, low, high in multiples.values()] or ["", ""]
            print(f"| {case.name} | {side} | {waited.size} | {', '.join(shown)} | {' | '.join(cells)} |")
            if side == "speak_first" and case.most is not None:
                enough = len(pairs) >= FEWEST_ROUNDS
                met = met and enough and all(multiples[q][0] <= most for q, most in case.most.items())
    return met


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kept", type=Path, required=True, help="a file: rounds are appended to it, and those in it count too"
    )
    parser.add_argument("--rounds", type=int, default=40, help="at most; 0: print what there is")
    parser.add_argument("--minutes", type=float, default=32, help="no round begins after them")
    parser.add_argument(
        "--only", choices=[case.name for case in CASES], help="one case, each of its sides in each round; all without"
    )
    typed = parser.parse_args()
    only = [replace(case, every=dict.fromkeys(case.every, 1)) for case in CASES if case.name == typed.only]
    if typed.rounds:
        typed.kept.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(measure(only or CASES, typed.rounds, typed.minutes, typed.kept))
    sys.exit(int(not report(read(typed.kept))))


if __name__ == "__main__":
    main()
