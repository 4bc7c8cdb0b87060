"""The long form of everything bounded, run by hand: `make soak`, or `make soak SOAK_ROUNDS=1` for a twentieth of it.

First the tests with the marker `soak`, file by file, with a limit: they may need root, an image builder or a browser.
Then the whole suite on both ends of the ranges, what computes and then real calls, as `make test` does. Then calls, 20
times beside a process that computes all the time; then properties, on a hundred times as many examples. The short form
calls once, and tries five times as many examples; all else is the same.
Each round that ends is appended to soak/results.jsonl; what pytest printed is beside it. After a failure it goes on. A
test that lacks a tool skips itself: it is "not run", with its reason. Called again on the same commit, it goes on where it
was interrupted: what passed is not run again.
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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from platform import python_version
from typing import Literal

from rich.console import Console
from rich.table import Table

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
TEST_S, FILE_S, SUITE_S, CALLS_S, PROPERTIES_S = 2 * 3600.0, 3 * 3600.0, 2 * 3600.0, 3600.0, 4 * 3600.0
"""Seconds after which a round is ended and has failed: of a test, of a file, of a half of the suite, of all calls, of all properties. On a busy machine
Go builds a collector, and buildah images, for half an hour.
"""
HALVES = {
    "computing": ("-m", "not real and not soak and not registry", "-n", "4", "--dist", "worksteal"),
    "calls": ("-m", "real and not soak"),
}
"""The suite, as the Makefile runs it."""
SKIPPED = re.compile(r"SKIPPED \[\d+\] \S+: (.+)")
"""pytest's line for a test that did not run, with the reason."""


@dataclass(frozen=True, slots=True)
class Part:
    """Tests by pytest's arguments, `rounds` times over; `beside_load`: while another process computes.

    python: the environment's, which may have the oldest or the newest of every range.
    """

    name: str
    tests: tuple[str, ...]
    limit: float
    """Seconds that a round may take."""
    rounds: int = 1
    beside_load: bool = False
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class Round:
    """One line of the results."""

    ended: str
    commit: str
    python: str
    part: str
    round: int
    of: int
    examples: int
    """How many times as many as usual a property was tried on."""
    outcome: Literal["passed", "failed", "not run"]
    seconds: float
    summary: str
    """pytest's last line, or why nothing ran or ended."""


def parts(rounds: int) -> tuple[Part, ...]:
    """Those with the marker file by file, then both ends of the ranges, calls, and properties. RuntimeError where pytest can't collect."""
    calls, properties = ("-m", "real and not soak", "tests/calls", "tests/test_up.py"), ("-m", "hypothesis")
    return (
        *(Part(file, ("-m", "soak", f"--timeout={TEST_S:.0f}", file), FILE_S) for file in marked()),
        *(
            Part(f"{end}, {half}", tests, SUITE_S, python=f".venv-{end}/bin/python")
            for end in ("oldest", "newest")
            for half, tests in HALVES.items()
        ),
        Part("calls", calls, CALLS_S, rounds, beside_load=True),
        Part(
            "properties",
            (*properties, "--hypothesis-profile=soak", "--timeout=0", "-n", "logical"),
            PROPERTIES_S,
        ),
    )


def marked() -> list[str]:
    """The files with tests that bear the marker `soak`."""
    command = (sys.executable, "-m", "pytest", "-q", "--color=no", "--collect-only", "-m", "soak")
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode != 0:
        raise RuntimeError(f"expected tests with the marker soak; pytest says:\n{found.stdout}{found.stderr}")
    files = (line.partition("::")[0] for line in found.stdout.splitlines() if "::" in line)
    return list(dict.fromkeys(files))


async def soak(part: Part, number: int, examples: int, commit: str, report: Callable[[Progress], None]) -> Round:
    """One round of a part; pytest's output is in the folder. `examples`: how many times as many as usual."""
    log = FOLDER / "{}-{:02}.log".format(re.sub(r"[^\w.-]+", "-", part.name), number)
    began = time.monotonic()
    try:
        async with asyncio.timeout(part.limit):
            code = await _tested(part, log, examples, lambda done: report(replace(done, doing=_title(part, number))))
    except TimeoutError:
        code = None
    seconds, ended = time.monotonic() - began, datetime.now(UTC).isoformat(timespec="seconds")
    outcome, summary = judged(code, log.read_text(encoding="utf-8"))
    summary = summary if code is not None else f"ended after {part.limit:.0f} s, which is its limit"
    return Round(
        ended, commit, python_version(), part.name, number, part.rounds, examples, outcome, round(seconds, 1), summary
    )


def passed_before(commit: str, examples: int) -> dict[tuple[str, int, int], Round]:
    """Rounds of this commit that have passed, by part, number, and of how many. None of a commit with changes."""
    if commit.endswith("-dirty") or not RESULTS.exists():
        return {}
    lines = (json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines())
    rounds = [Round(**line) for line in lines if line["commit"] == commit]
    same = [each for each in rounds if each.examples == examples and each.python == python_version()]
    return {(each.part, each.round, each.of): each for each in same if each.outcome == "passed"}


def judged(code: int | None, output: str) -> tuple[Literal["passed", "failed", "not run"], str]:
    """What a round was, by pytest's exit code (None: it did not end) and output, and what to say of it."""
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
    if code == 0 and " passed" not in last and (why := SKIPPED.search(output)):
        return "not run", why[1]
    return "passed" if code == 0 else "failed", last


def _title(part: Part, number: int) -> str:
    return f"{part.name} {number} of {part.rounds}" if part.rounds > 1 else part.name


async def _tested(part: Part, log: Path, examples: int, report: Callable[[Progress], None]) -> int:
    """pytest's exit code. What it started ends with it."""
    async with contextlib.AsyncExitStack() as running:
        if part.beside_load:
            await running.enter_async_context(started(COMPUTE, {}))
        pytest = (part.python, "-m", "pytest", "-q", "--color=no", *part.tests)
        variables = {"SOAK_EXAMPLES": str(examples)}
        process = await running.enter_async_context(started(pytest, variables, end_with_parent=signal.SIGTERM))
        assert process.stdout is not None  # it is a pipe
        with log.open("w", encoding="utf-8") as out:
            report(Progress(""))
            async for raw in process.stdout:
                out.write(line := raw.decode(errors="replace"))
                out.flush()
                if done := re.search(r"\[ *(\d+)%\]", line):
                    report(Progress("", int(done[1]), 100))
        return await process.wait()


def main(rounds: int) -> bool:
    """All parts one after the other, and a table at the end; whether no round failed."""
    commit = subprocess.run(("git", "describe", "--always", "--dirty"), capture_output=True, text=True).stdout.strip()
    FOLDER.mkdir(exist_ok=True)
    ended, out = list[Round](), Console(stderr=True, markup=False, highlight=False)
    before = passed_before(commit, EXAMPLES * rounds)
    if before:
        out.print(f"{len(before)} rounds of this commit have passed before: they are not run again.")
    for part in parts(rounds):
        for number in range(1, part.rounds + 1):
            if kept := before.get((part.name, number, part.rounds)):
                ended.append(kept)
                continue
            with progress(out) as report:
                result = asyncio.run(soak(part, number, EXAMPLES * rounds, commit, report))
            with RESULTS.open("a", encoding="utf-8") as results:
                results.write(json.dumps(asdict(result)) + "\n")
            out.print(f"{_title(part, number)}: {result.outcome}: {result.summary}")
            ended.append(result)
    out.print(table(ended))
    out.print(f"Each round is a line of {RESULTS}; what pytest printed is beside it.")
    return all(each.outcome != "failed" for each in ended)


def table(rounds: Sequence[Round]) -> Table:
    """A line for each round."""
    made = Table("part", "round", "outcome", "s", "summary")
    for each in rounds:
        made.add_row(each.part, f"{each.round} of {each.of}", each.outcome, f"{each.seconds:.0f}", each.summary)
    return made


if __name__ == "__main__":
    end_as_by_ctrl_c()
    try:
        sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
