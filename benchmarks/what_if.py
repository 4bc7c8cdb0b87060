"""How near `firstword what-if --flag` comes: predicted from `baseline` traces, measured in the same rehearsal.

    python -m benchmarks.what_if --output FOLDER [--sessions 40] [FLAG ...]

For each flag that leaves evidence in a baseline trace, rehearses `baseline` beside the flag alone (interleaved, so that
the machine's moods meet both), predicts, and prints predicted against measured p50. The target: within 10 % or 30 ms.
Resumable: a flag whose rehearsal is in FOLDER already is not rehearsed again. Exit code 1 where one misses the target.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from agent.flag_source import shipped_file
from rehearsal.result import RESULT_FILE, TRACES
from tuning.change import BadChange, changes_of_flag, predictions
from tuning.flag_file import FlagFile, read
from tuning.observation import Observation, observation, ttfw
from tuning.sources import Files, Query
from tuning.spans import Problem
from tuning.statistics import quantile
from tuning.whatif import predict

NEAR_S, NEAR_SHARE = 0.030, 0.10


def main() -> None:
    """Rehearse what is missing, then print the table."""
    arguments = argparse.ArgumentParser(prog="benchmarks.what_if")
    arguments.add_argument("flags", nargs="*")
    arguments.add_argument("--output", type=Path, required=True)
    arguments.add_argument("--sessions", type=int, default=40)
    given = arguments.parse_args()
    file = read(shipped_file())
    told = predictions(file)
    flags = given.flags or [flag for flag, changes in told.items() if changes]
    unguessed = [flag for flag, changes in told.items() if not changes]
    print(f"no evidence in a baseline trace, so not predicted: {', '.join(unguessed) or 'none'}")
    print(f"{'flag':20} {'baseline':>9} {'measured':>9} {'predicted':>9} {'range':>16} {'off by':>8} {'':>7}")
    misses = 0
    for flag in flags:
        folder = given.output / flag
        if not (folder / RESULT_FILE).exists():
            rehearse(flag, folder, given.sessions)
        misses += not compared(file, flag, folder / TRACES)
    sys.exit(1 if misses else 0)


def rehearse(flag: str, folder: Path, sessions: int) -> None:
    """One rehearsal of `baseline` and the flag."""
    profiles = ["--profile", "baseline", "--profile", flag]
    command = [sys.executable, "-m", "firstword", "rehearse", *profiles, "--sessions", str(sessions)]
    subprocess.run([*command, "--output", str(folder)], check=True, stdout=sys.stderr)


def compared(file: FlagFile, flag: str, traces: Path) -> bool:
    """Print one line; whether the prediction is near enough."""
    baseline, measured = median(traces / "baseline"), median(traces / flag)
    try:
        changes = changes_of_flag(file, flag)
    except BadChange as error:
        sys.exit(str(error))
    forecast = predict(Files(traces / "baseline").traces(Query(), say), changes, flag=flag).forecasts[0]
    off = forecast.predicted - measured
    near = abs(off) <= max(NEAR_S, NEAR_SHARE * measured)
    within = forecast.predicted_range
    shown = "" if within is None else f"{within.low:.3f} to {within.high:.3f}"
    print(
        f"{flag:20} {baseline:9.3f} {measured:9.3f} {forecast.predicted:9.3f} {shown:>16} {1000 * off:+5.0f} ms"
        f" {100 * off / measured:+5.1f} %{'' if near else '  MISS'}",
        flush=True,
    )
    return near


def median(folder: Path) -> float:
    """p50 of the time to first word, in seconds."""
    found = (observation(trace) for trace in Files(folder).traces(Query(), say))
    starts: list[Observation] = [start for start in found if start is not None]
    return quantile(ttfw(starts), 0.5)


def say(problem: Problem) -> None:
    """On standard error."""
    print(problem, file=sys.stderr)


if __name__ == "__main__":
    main()
