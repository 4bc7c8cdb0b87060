"""Does a change save what an audit predicts? Each small agent with a fault is audited, changed, and audited again.

    python -m benchmarks.opportunities --sessions 6 --rounds 3

`benchmarks/audited_agents/RULE/before.py` has the fault that RULE finds, and `after.py` is the same agent without it. Both are audited in
turn, the order turned each round, so that a machine that grows slower harms both. Prints the median of the rounds' predictions, its interval,
and what was saved: the median of the rounds' differences. Exits 1 where the rule found nothing, or where the prediction is off by more than 20 % and by more than 40 ms.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AGENTS = Path(__file__).parent / "audited_agents"
NEAR, NEAR_S = 0.20, 0.040


@dataclass(frozen=True, slots=True)
class SavingCheck:
    """One agent, before and after; seconds."""

    rule: str
    predicted: float | None
    """None where the rule found nothing in half of the rounds or more."""
    range: tuple[float, float]
    measured: float

    @property
    def near(self) -> bool:
        """Whether the prediction is within 20 % of what was measured, or within 40 ms."""
        return self.predicted is not None and abs(self.predicted - self.measured) <= max(
            NEAR * abs(self.measured), NEAR_S
        )

    def __str__(self) -> str:
        if self.predicted is None:
            return f"{self.rule}: nothing was predicted, {self.measured:.3f} s were saved"
        low, high = self.range
        inside = "inside" if low <= self.measured <= high else "outside"
        verdict = "near" if self.near else "OFF"
        return f"{self.rule}: predicted {self.predicted:.3f} s ({low:.3f} to {high:.3f}), saved {self.measured:.3f} s, {inside}, {verdict}"


def audited(file: Path, sessions: int) -> dict[str, Any]:
    """What `firstword audit --json` says of a file. Raises CalledProcessError where it was not heard."""
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-m", "firstword.command", "audit", str(file), "--json")
        options = ("--sessions", str(sessions), "--output", f"{folder}/audit")
        done = subprocess.run((*command, *options), cwd=folder, check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)


def check(folder: Path, sessions: int, rounds: int) -> SavingCheck:
    """Audit an agent before and after its change, round by round. Raises CalledProcessError."""
    found: list[tuple[float, float, float]] = []
    saved: list[float] = []
    for number in range(rounds):
        heard: dict[str, float] = {}
        for version in ("before", "after") if number % 2 == 0 else ("after", "before"):
            document = audited(folder / f"{version}.py", sessions)
            heard[version] = document["heard_s"]["p50"]
            if version == "before":
                for each in document["opportunities"]:
                    if each["name"] == folder.name:
                        low, high = each["saving_range_s"] or (0.0, math.inf)
                        found.append((each["saving_s"], low, high))
        saved.append(heard["before"] - heard["after"])
    if len(found) <= rounds / 2:
        return SavingCheck(folder.name, None, (0.0, 0.0), statistics.median(saved))
    predicted, low, high = sorted(found)[len(found) // 2]
    return SavingCheck(folder.name, predicted, (low, high), statistics.median(saved))


def main() -> int:
    """Audit all agents, or those named; 1 where a prediction is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(folder.name for folder in AGENTS.iterdir() if folder.is_dir())
    parser.add_argument("rules", nargs="*", choices=[*names, []], help="all without")
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found: list[SavingCheck] = []
    for name in given.rules or names:
        found.append(check(AGENTS / name, given.sessions, given.rounds))
        print(found[-1], flush=True)
    return 0 if all(each.near for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
