"""Any agent at the floor with `speak_first`: LiveKit's quickstart agent as it is and with it, the shipped worker, the floor; in turn.

    python -m benchmarks.any_agent --rounds 40
    python -m benchmarks.any_agent --rounds 40 --ahead-by 3

Four workers on one real LiveKit server, with simulated providers. Prints what callers waited at p50 and p90, and each agent's p50 as a multiple of the
floor's with its 95 % interval by a paired bootstrap over the rounds. Exits 1 where `speak_first` is above 1.05 of the floor at p50, or above
1.15 at p90.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.in_turn import Side, difference, measured
from firstword.rehearsal.workers import FLOOR

WORKER = Path(__file__).parent / "any_agent_worker.py"
MOST_P50, MOST_P90 = 1.05, 1.15
ONE_IDLE = {"FIRSTWORD_IDLE_PROCESSES": "1"}


def side(agent: str) -> Side:
    """The quickstart agent, in one of its forms."""
    return Side(agent, {**ONE_IDLE, "ANY_AGENT": agent}, entrypoint=WORKER)


SIDES = {
    "floor": Side(FLOOR, ONE_IDLE),
    "shipped": Side("tuned", ONE_IDLE),
    "speak_first": side("speak_first"),
    "quickstart": side("quickstart"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--ahead-by", type=float, help="seconds that the agent comes before its caller; else with them")
    parser.add_argument("--kept", type=Path, help="a file: rounds are appended to it, and those in it count too")
    typed = parser.parse_args()
    seconds = measured(SIDES, typed.rounds, ahead_by=typed.ahead_by, kept=typed.kept)
    floor = seconds["floor"]
    ratios: dict[str, tuple[float, float]] = {}
    for name, waited in seconds.items():
        p50, p90 = (float(each) for each in np.quantile(waited, (0.5, 0.9)))
        ratios[name] = p50 / float(np.quantile(floor, 0.5)), p90 / float(np.quantile(floor, 0.9))
        low, high = difference(waited, floor).ratio
        multiple = f"{ratios[name][0]:.2f} of the floor ({low:.2f} to {high:.2f}), p90 {ratios[name][1]:.2f}"
        print(f"{name:12} p50 {p50:.3f} s, p90 {p90:.3f} s: {multiple}; {len(waited)} sessions")
    p50, p90 = ratios["speak_first"]
    sys.exit(int(p50 > MOST_P50 or p90 > MOST_P90))


if __name__ == "__main__":
    main()
