"""What the telemetry, or the observation, costs the caller: with it and without, heard at the ear, called in turn.

    python -m benchmarks.telemetry_on_off --rounds 100
    python -m benchmarks.telemetry_on_off --observation --rounds 100

Two `tuned` workers on one real LiveKit server, with a real collector and a real Jaeger on the same cores. Without means OTEL_SDK_DISABLED;
with --observation both sides have telemetry, and one is observed too (FIRSTWORD_OBSERVE=1).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.in_turn import Side, difference, measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--profile", default="tuned")
    parser.add_argument("--observation", action="store_true", help="compare observed starts with those that are not")
    parser.add_argument("--kept", type=Path, help="a file: rounds are appended to it, and those in it count too")
    typed = parser.parse_args()
    if typed.observation:
        what, on, off = "observation", {"FIRSTWORD_OBSERVE": "1"}, {}
    else:
        what, on, off = "telemetry", {}, {"OTEL_SDK_DISABLED": "true"}
    sides = {"on": Side(typed.profile, on), "off": Side(typed.profile, off)}
    seconds = measured(sides, typed.rounds, jaeger=True, kept=typed.kept)
    print(f"with {what} against without: {difference(seconds['on'], seconds['off'])}")


if __name__ == "__main__":
    main()
