"""Whether callers wait longer than with the version before: a worker of each checkout, called in turn.

    python -m benchmarks.before_after ../before --dispatch join --rounds 100

`../before` is a checkout that is set up (`make setup`). Both workers are `tuned`, on one server and with the same simulators. No worse
means: the upper end of the difference's 95 % interval is at most 3 % or 5 ms, whichever is more. Exits 1 where that is not shown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.in_turn import Side, difference, measured, other_checkout

AHEAD_BY_S = 3.0
NO_WORSE, NO_WORSE_S = 0.03, 0.005


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("--dispatch", choices=("join", "ahead"), default="join")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--kept", type=Path, help="a file: rounds are appended to it, and those in it count too")
    typed = parser.parse_args()
    sides = {"now": Side(), "before": other_checkout(typed.before)}
    ahead_by = AHEAD_BY_S if typed.dispatch == "ahead" else None
    seconds = measured(sides, typed.rounds, ahead_by=ahead_by, kept=typed.kept)
    found = difference(seconds["now"], seconds["before"])
    limit = max(NO_WORSE * found.other, NO_WORSE_S)
    print(f"{typed.dispatch}, now against before: {found}")
    no_worse = found.high <= limit
    print("no worse" if no_worse else f"not shown to be no worse: the upper end is above {1e3 * limit:.1f} ms")
    sys.exit(not no_worse)


if __name__ == "__main__":
    main()
