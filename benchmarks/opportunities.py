"""Does a change save what an audit predicts? Each small agent with a fault is called in turn with the same agent without it.

    python -m benchmarks.opportunities --output rehearsals/opportunities
    python -m benchmarks.opportunities --output rehearsals/opportunities --only read-waits-in-line --rounds 4

`benchmarks/audited_agents/RULE/before.py` has the fault that RULE finds, and `after.py` is the same agent once its advice is taken; where
the advice is about the call and not the agent, `before.py` is called otherwise. The simulated providers are as slow each time. No core sleeps
meanwhile (`benchmarks.awake`); with `--cores-may-sleep` they do, as on a machine that has nothing else to do.
Each pair adds a line to `results.jsonl` in the folder, and its logs and traces beside it, so that what is done stays done. No pair begins after
`--minutes`. The table at the end is of all in the file, the last of each. Exits 1 where a pair was not called, where its rule found nothing, or where the prediction is off by more than 20 % and by more than 40 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.audited_pairs import AGENTS, AgentPair, PairRun, Version, run_pair, servers
from benchmarks.awake import awake_cores
from benchmarks.in_turn import difference
from firstword.rehearsal.processes import ServerError
from firstword.tuning.audit.opportunities import RULES

NEAR, NEAR_S = 0.20, 0.040
ACCOUNT = '{"account": "Ada"}'
AHEAD_S = 3.0
RESULTS = "results.jsonl"
PAIR_S = 900.0


def pair(rule: str, **after: Any) -> AgentPair:
    """The pair of a rule, and how its second version is called."""
    folder = AGENTS / rule
    crowded = rule == "no-preloaded-modules"
    file = folder / "after.py"
    return AgentPair(
        rule,
        Version(folder / "before.py", crowded=crowded),
        Version(file if file.exists() else folder / "before.py", crowded=crowded, **after),
        needs_floor=rule == "room-made-at-join",
        function="build_prompt" if rule == "computing-on-path" else "",
    )


CALLED_OTHERWISE = {"no-account-in-metadata": {"metadata": ACCOUNT}, "room-made-at-join": {"ahead_by": AHEAD_S}}
UNPREDICTED = {rule.name for rule in RULES if rule.unpredicted}
PAIRS = {rule.name: pair(rule.name, **CALLED_OTHERWISE.get(rule.name, {})) for rule in RULES}


@dataclass(frozen=True, slots=True)
class SavingCheck:
    """What was predicted of one pair, and what was saved; seconds."""

    rule: str
    rounds: int
    predicted: float | None
    """None where the rule found nothing."""
    range: tuple[float, float]
    saved: float
    saved_range: tuple[float, float]
    """The 95 % interval, by a bootstrap over the rounds."""
    unheard: int = 0
    """Rounds in which a caller heard nothing, which are in no figure."""

    @property
    def inside(self) -> bool:
        """Whether what was saved lies inside the predicted interval."""
        return self.range[0] <= self.saved <= self.range[1]

    @property
    def near(self) -> bool:
        """Whether the prediction is within 20 % of what was saved, or within 40 ms; true where the rule makes none. Not where a
        caller heard nothing."""
        if self.unheard or self.rule in UNPREDICTED:
            return not self.unheard
        return self.predicted is not None and abs(self.predicted - self.saved) <= max(NEAR * abs(self.saved), NEAR_S)

    @property
    def row(self) -> str:
        """A line of the table."""
        saved = _ms(self.saved, self.saved_range) + (f"; {self.unheard} rounds unheard" if self.unheard else "")
        if self.rule in UNPREDICTED:
            return f"| `{self.rule}` | {self.rounds} | not predicted | {saved} | | |"
        if self.predicted is None:
            return f"| `{self.rule}` | {self.rounds} | nothing found | {saved} | no | OFF |"
        predicted = _ms(self.predicted, self.range)
        return f"| `{self.rule}` | {self.rounds} | {predicted} | {saved} | {'yes' if self.inside else 'no'} | {'yes' if self.near else 'OFF'} |"


HEAD = (
    "| rule | rounds | predicted, ms | saved at p50, ms | inside | within 20 % or 40 ms |\n|---|---:|---|---|---|---|"
)


def _ms(seconds: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{1e3 * seconds:.0f} ({1e3 * low:.0f} to {1e3 * high:.0f})"


def line_of(rule: str, run: PairRun) -> str:
    """What is kept of a pair's run: one line of JSON, seconds."""
    found = run.opportunity
    return json.dumps(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "rule": rule,
            "before_s": run.before_s,
            "after_s": run.after_s,
            "predicted_s": None if found is None else found.saving_s,
            "range_s": found and found.saving_range and [found.saving_range.low, found.saving_range.high],
        }
    )


def check_of(line: str) -> SavingCheck:
    """The check that a line of the file tells of."""
    told = json.loads(line)
    rounds = np.array([told["before_s"], told["after_s"]])
    before, after = rounds[:, np.isfinite(rounds).all(axis=0)]
    low, high = told["range_s"] or (-math.inf, math.inf)
    unheard = rounds.shape[1] - len(before)
    if not len(before):
        return SavingCheck(told["rule"], 0, told["predicted_s"], (low, high), math.nan, (math.nan, math.nan), unheard)
    between = difference(before, after)
    saved, interval = between.median - between.other, (between.low, between.high)
    return SavingCheck(told["rule"], len(before), told["predicted_s"], (low, high), saved, interval, unheard)


async def measure(rules: Sequence[str], rounds: int, minutes: float, output: Path, *, awake: bool) -> set[str]:
    """Runs the pairs, adds each to the file, and returns those that were run to their end. Raises ServerError.

    awake: whether no core may sleep.
    """
    done: set[str] = set()
    until = time.monotonic() + 60 * minutes
    folder = output / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        async with awake_cores() if awake else contextlib.nullcontext(), servers(folder) as (stack, addresses):
            for rule in rules:
                if time.monotonic() > until:
                    bar.console.print(f"{minutes:.0f} minutes are up: {rule} and what follows were not called")
                    break
                row = bar.add_task(rule, total=rounds)

                def report(number: int, row: TaskID = row) -> None:
                    bar.update(row, completed=number)

                try:
                    async with asyncio.timeout(PAIR_S):
                        run = await run_pair(PAIRS[rule], rounds, stack, addresses, folder / rule, report=report)
                except (ServerError, TimeoutError) as error:  # the others can be called all the same
                    bar.console.print(f"{rule}: {error or f'not done within {PAIR_S:.0f} s'}")
                    continue
                done.add(rule)
                line = line_of(rule, run)
                with (output / RESULTS).open("a") as file:
                    file.write(line + "\n")
                bar.console.print(check_of(line).row)
    return done


def main() -> int:
    """Measure, and print the table; 1 where a prediction is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(PAIRS), help="a rule; repeatable; all without")
    parser.add_argument("--rounds", type=int, default=10, help="calls of each version of a pair (10)")
    parser.add_argument("--minutes", type=float, default=60.0, help="no pair begins after that (60)")
    parser.add_argument("--output", type=Path, required=True, help="a folder; what is in it stays")
    parser.add_argument("--cores-may-sleep", action="store_true")
    given = parser.parse_args()
    rules = given.only or list(PAIRS)
    try:
        done = asyncio.run(measure(rules, given.rounds, given.minutes, given.output, awake=not given.cores_may_sleep))
    except ServerError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    file = given.output / RESULTS
    told: list[str] = file.read_text().splitlines() if file.exists() else []
    checks = {check.rule: check for check in map(check_of, told)}
    print(HEAD)
    print("\n".join(checks[rule].row for rule in PAIRS if rule in checks))
    return 0 if done.issuperset(rules) and all(checks[rule].near for rule in rules) else 1


if __name__ == "__main__":
    sys.exit(main())
