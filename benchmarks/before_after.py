"""Whether callers wait longer than with the version before: both checkouts in turn, in one run.

    python -m benchmarks.before_after ../before --dispatch join --rounds 8

`../before` is a checkout that is set up (`make setup`). Each round rehearses `tuned` once in each, the order turned. The
difference's 95 % interval comes from drawing rounds again, and sessions within them. No worse means: its upper end is at
most 3 % or 5 ms, whichever is more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

HERE = Path(__file__).parents[1]
PROFILE = "tuned"
RESAMPLED = 10_000
NO_WORSE, NO_WORSE_S = 0.03, 0.005
Rounds = list[NDArray[np.float64]]


def rehearsed(checkout: Path, dispatch: str, sessions: int) -> NDArray[np.float64]:
    """Seconds until each caller heard the agent; an error is infinitely late. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        command = (str(checkout / ".venv" / "bin" / "firstword"), "rehearse", "--profile", PROFILE)
        options = ("--dispatch", dispatch, "--sessions", str(sessions), "--output", f"{folder}/run")
        kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        subprocess.run((*command, *options), cwd=folder, env=kept, check=True, capture_output=True)
        lines = map(json.loads, Path(folder, "run", "sessions.jsonl").read_text().splitlines())
        heard = [line["heard_s"] for line in lines if line["profile"] == PROFILE]
        return np.array([np.inf if seconds is None else seconds for seconds in heard])


def interval(before: Rounds, after: Rounds) -> tuple[float, float]:
    """95 % of the differences of the medians, seconds, after less before."""
    random = np.random.default_rng(0)
    found = np.empty(RESAMPLED)
    for index in range(RESAMPLED):
        rounds = [int(each) for each in random.integers(len(before), size=len(before))]
        found[index] = _median(after, rounds, random) - _median(before, rounds, random)
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def _median(side: Rounds, rounds: list[int], random: np.random.Generator) -> float:
    """Of sessions drawn again in these rounds."""
    drawn = [side[each][random.integers(side[each].size, size=side[each].size)] for each in rounds]
    return float(np.median(np.concatenate(drawn)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("--dispatch", choices=("join", "ahead"), default="join")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=10, help="of a round, each side")
    typed = parser.parse_args()
    sides: dict[Path, Rounds] = {typed.before.resolve(): [], HERE: []}
    for number in track(range(typed.rounds), f"rounds, {typed.dispatch}", console=Console(stderr=True)):
        for checkout in list(sides)[:: 1 if number % 2 == 0 else -1]:
            sides[checkout].append(rehearsed(checkout, typed.dispatch, typed.sessions))
    before, after = sides.values()
    old, new = (float(np.median(np.concatenate(side))) for side in (before, after))
    low, high = interval(before, after)
    limit = max(NO_WORSE * old, NO_WORSE_S)
    print(
        f"{typed.dispatch}: heard after {old:.3f} s before, {new:.3f} s now, at p50 of {typed.rounds * typed.sessions} each"
    )
    print(f"difference {1e3 * (new - old):+.1f} ms, 95 % within {1e3 * low:+.1f} and {1e3 * high:+.1f} ms")
    print("no worse" if high <= limit else f"not shown to be no worse: the upper end is above {1e3 * limit:.1f} ms")
    sys.exit(high > limit)


if __name__ == "__main__":
    main()
