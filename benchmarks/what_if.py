"""How near `firstword what-if --flag` comes: predicted from `baseline` traces, measured in the same rehearsals.

    python -m benchmarks.improvements --part alone
    python -m benchmarks.what_if [--improvements rehearsals/improvements] [FLAG ...]

Reads the blocks in which `benchmarks.improvements` called `baseline` beside each flag added to it, so that the machine's
moods met both. For each flag that leaves evidence in a baseline trace it predicts, and prints predicted against measured p50.
The target: within 10 % or 30 ms. Exit code 1 where one misses it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from firstword.agent.flags.flag_file import read
from firstword.agent.flags.improvements import SUBJECTS
from firstword.agent.flags.location import shipped_file
from firstword.command.flag_shares import predictions
from firstword.rehearsal.result import TRACES
from firstword.tuning.change import read_changes
from firstword.tuning.observation import Observation, observation, ttfw
from firstword.tuning.sources import Files, Query
from firstword.tuning.spans import Problem, Trace
from firstword.tuning.statistics import quantile
from firstword.tuning.whatif import predict

NEAR_S, NEAR_SHARE = 0.030, 0.10
BASELINE = "baseline"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.what_if", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="without it all")
    parser.add_argument("--improvements", type=Path, default=Path("rehearsals/improvements"), help="what was measured")
    options = parser.parse_args()
    told = predictions(read(shipped_file(), SUBJECTS))
    if unknown := [flag for flag in options.flags if flag not in told]:
        parser.error(f"there is no flag {unknown[0]}; there is: {', '.join(told)}")
    flags = options.flags or [flag for flag, changes in told.items() if changes]
    print(f"No evidence in a baseline trace, so not predicted: {', '.join(f for f in told if not told[f]) or 'none'}\n")
    print("| flag | sessions without, with | baseline p50, s | measured p50, s | predicted p50, s (95 %) | off by | |")
    print("|---|---:|---:|---:|---:|---:|---|")
    misses = [flag for flag in flags if not compared(told[flag], flag, blocks(options.improvements, flag))]
    sys.exit(1 if misses else 0)


def blocks(improvements: Path, flag: str) -> list[Path]:
    """The trace folders of the finished blocks that called both."""
    finished = [file.parent / TRACES for file in sorted(improvements.glob("blocks/*/cells.jsonl"))]
    both = [folder for folder in finished if (folder / BASELINE).is_dir() and (folder / flag).is_dir()]
    if not both:
        sys.exit(
            f"{improvements} has no block with {BASELINE} and {flag}; benchmarks.improvements --part alone makes it"
        )
    return both


def compared(changes: str, flag: str, folders: Sequence[Path]) -> bool:
    """Print one line; whether the prediction is near enough."""
    baseline, measured = (waited(traces(folders, profile)) for profile in (BASELINE, flag))
    forecast = predict(traces(folders, BASELINE), read_changes(changes.split()), flag=flag).forecasts[0]
    now, then = quantile(ttfw(baseline), 0.5), quantile(ttfw(measured), 0.5)
    off = forecast.predicted - then
    near = abs(off) <= max(NEAR_S, NEAR_SHARE * then)
    within = forecast.predicted_range
    shown = "" if within is None else f" ({within.low:.3f} to {within.high:.3f})"
    print(
        f"| `{flag}` | {len(baseline)}, {len(measured)} | {now:.3f} | {then:.3f} | {forecast.predicted:.3f}{shown}"
        f" | {1000 * off:+.0f} ms, {100 * off / then:+.1f} % | {'near' if near else 'missed'} |",
        flush=True,
    )
    return near


def traces(folders: Sequence[Path], profile: str) -> Iterator[Trace]:
    """All of a profile, block after block."""
    for folder in folders:
        yield from Files(folder / profile).traces(Query(), say)


def waited(of: Iterator[Trace]) -> list[Observation]:
    """The starts among them that count."""
    return [start for start in map(observation, of) if start is not None]


def say(problem: Problem) -> None:
    """On standard error."""
    print(problem, file=sys.stderr)


if __name__ == "__main__":
    main()
