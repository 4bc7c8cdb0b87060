"""The long form of everything bounded, run by hand: `make soak`, or `make soak SOAK_ROUNDS=2` for a tenth of it.

Calls are repeated 20 times beside a process that computes all the time, properties are tried on a hundred times as many
examples, and what needs root, an image builder or a browser runs too. Each round that ends is appended to soak/results.jsonl, so that
an interruption loses nothing; what pytest printed is beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import python_version

from rich.console import Console

from firstword.command.progress import progress
from firstword.command.signals import end_as_by_ctrl_c
from firstword.rehearsal.processes import started
from firstword.rehearsal.servers import Progress

FOLDER = Path("soak")
RESULTS = FOLDER / "results.jsonl"
ROUNDS = 20
"""How often calls are repeated, unless the command says another number."""
EXAMPLES = 5
"""For each round: how many times as many examples a property is tried on."""
COMPUTE = (sys.executable, "-c", "while True: pass")
NOTHING_SELECTED = 5
"""pytest's exit code: no test bears the marker."""


@dataclass(frozen=True, slots=True)
class Part:
    """Tests by pytest's arguments, `rounds` times over; `beside_load`: while another process computes."""

    name: str
    tests: tuple[str, ...]
    rounds: int = 1
    beside_load: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """One line of the results."""

    ended: str
    commit: str
    python: str
    part: str
    round: int
    of: int
    passed: bool
    seconds: float
    summary: str
    """pytest's last line."""


def parts(rounds: int) -> tuple[Part, ...]:
    """The cheapest first."""
    return (
        Part("needs", ("-m", "soak", "--timeout=3600")),
        Part("calls", ("-m", "real and not soak", "tests/calls", "tests/test_up.py"), rounds, beside_load=True),
        Part("properties", ("-m", "hypothesis", "--hypothesis-profile=soak", "--timeout=0", "-n", "logical")),
    )


async def soak(part: Part, number: int, examples: int, commit: str, report: Callable[[Progress], None]) -> Round:
    """One round of a part; pytest's output is in the folder. `examples`: how many times as many as usual."""
    log = FOLDER / f"{part.name}-{number:02}.log"
    what = f"{part.name} {number} of {part.rounds}"
    began, last = time.monotonic(), ""
    async with contextlib.AsyncExitStack() as running:
        if part.beside_load:
            await running.enter_async_context(started(COMPUTE, {}))
        pytest = (sys.executable, "-m", "pytest", "-q", "--color=no", *part.tests)
        variables = {"SOAK_EXAMPLES": str(examples)}
        process = await running.enter_async_context(started(pytest, variables, end_with_parent=signal.SIGTERM))
        assert process.stdout is not None  # it is a pipe
        with log.open("w", encoding="utf-8") as out:
            report(Progress(what))
            async for raw in process.stdout:
                out.write(line := raw.decode(errors="replace"))
                last = line.strip() or last
                if done := re.search(r"\[ *(\d+)%\]", line):
                    report(Progress(what, int(done[1]), 100))
        code = await process.wait()
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    seconds, passed = round(time.monotonic() - began, 1), code in (0, NOTHING_SELECTED)
    return Round(ended, commit, python_version(), part.name, number, part.rounds, passed, seconds, last)


def main(rounds: int) -> bool:
    """All parts one after the other; whether every round passed."""
    commit = subprocess.run(("git", "describe", "--always", "--dirty"), capture_output=True, text=True).stdout.strip()
    FOLDER.mkdir(exist_ok=True)
    well, out = True, Console(stderr=True, markup=False, highlight=False)
    for part in parts(rounds):
        for number in range(1, part.rounds + 1):
            with progress(out) as report:
                result = asyncio.run(soak(part, number, EXAMPLES * rounds, commit, report))
            with RESULTS.open("a", encoding="utf-8") as results:
                results.write(json.dumps(asdict(result)) + "\n")
            out.print(f"{part.name} {number} of {part.rounds}: {result.summary}")
            well = well and result.passed
    out.print(f"Each round is a line of {RESULTS}; what pytest printed is beside it.")
    return well


if __name__ == "__main__":
    end_as_by_ctrl_c()
    try:
        sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
