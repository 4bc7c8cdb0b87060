"""Two methods, one truth: each start of the shipped worker by its declared plan, and observed on its event loop.

    python -m benchmarks.two_methods --sessions 100

Workers of `baseline` and `tuned` on one real LiveKit server, called in turn, the order turned each round, every other round with the job
ahead of the caller. Each start has two traces, which know nothing of each other: what they say is held against each other. They share
the first word and the ends of the phases; and where the declared path goes over from one task to the next, something woke that task, so
the observed path has a border too. Only where the loop was busy all through, one task after the other, it may have none: pieces of less than
1 ms join their neighbours, and computing is named by the line that was seen. Such passages are counted by themselves. Prints what differs, by
name. Exits 1 where starts lack one of the two, or where the first word or the path differ in more than one start of twenty.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import statistics
import tempfile
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.contract import violations
from benchmarks.in_turn import Side, by_metadata, heard, started
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.rehearsal.result import TRACES
from firstword.rehearsal.stack import LocalStack
from firstword.telemetry.merged_pieces import LEAST_PIECE, SAME_LINE
from firstword.telemetry.vocabulary import ABSENT_CALLER, DECLARED, LOOP_IS_HELD
from firstword.tuning.files import Files
from firstword.tuning.notes import ignore
from firstword.tuning.sources import Query
from firstword.tuning.start import Piece, RecordedStart, start_of

PROFILES = ("baseline", "tuned")
AHEAD_BY_S = 1.5
NEAR_US = 1_000
"""Two instants that are nearer are one: the declared path takes a task's end when its value is there, the observed when it wakes another."""
LEAST_US = SAME_LINE * LEAST_PIECE // 1_000
"""Shorter pieces of the declared path are not looked at: so short a piece of its own the observed path merges."""
MOST_DIFFERING = 0.05


@dataclass(frozen=True, slots=True)
class Pair:
    """One start, by both."""

    declared: RecordedStart
    observed: RecordedStart

    @property
    def offset_us(self) -> int:
        """From the declared root's start to the observed one's."""
        return (self.observed.start_ns - self.declared.start_ns) // 1000


async def measure(sessions: int, folder: Path) -> dict[str, list[Pair]]:
    """The pairs of each profile; `folder` gets the traces."""
    sides = {profile: Side(profile, {"FIRSTWORD_OBSERVE": "1"}) for profile in PROFILES}
    async with LocalStack(folder) as stack, contextlib.AsyncExitStack() as running:
        workers = await started(sides, stack, folder, running)
        for number in track(range(sessions), "rounds", console=Console(stderr=True)):
            for worker in list(workers.values())[:: 1 if number % 2 else -1]:
                metadata = by_metadata(ACCOUNTS[number % len(ACCOUNTS)].id, "")
                ahead_by = AHEAD_BY_S if number // 2 % 2 else None  # both orders with both dispatches
                await heard(stack, secrets.token_hex(6), worker.agent_name, metadata, ahead_by)
                await worker.at_rest()
    return {profile: list(pairs(folder / profile / TRACES / profile)) for profile in PROFILES}


def pairs(folder: Path) -> Iterator[Pair]:
    """The starts below a folder that have both traces. One that breaks its contract is said, and counts."""
    traces = {trace.trace_id: trace for trace in Files(folder).traces(Query(), ignore) if trace.is_start}
    for trace in traces.values():
        declared = traces.get(str(trace.root.attributes.get(DECLARED)))
        if declared is not None:
            for which, each in (("declared", declared), ("observed", trace)):
                for what in violations(each):
                    print(f"{which} start {each.trace_id}: {what}")
            yield Pair(start_of(declared), start_of(trace))


def instants(pair: Pair) -> dict[str, int]:
    """By how many microseconds the observed start is later, by what both know: its begin, its first word, each phase's end.

    And by how much longer its caller waited.
    """
    ends = {phase.name: phase.start_us + phase.duration_us for phase in pair.observed.phases}
    later = {
        phase.name: ends[phase.name] + pair.offset_us - phase.start_us - phase.duration_us
        for phase in pair.declared.phases
        if phase.name in ends
    }
    first_word = pair.observed.duration_us + pair.offset_us - pair.declared.duration_us
    waited = [round((start.ttfw_s or 0.0) * 1e6) for start in (pair.observed, pair.declared)]
    return {"begin": pair.offset_us, **later, "first word": first_word, "time to first word": waited[0] - waited[1]}


def borders(path: Iterable[Piece], offset_us: int) -> list[int]:
    """The instants between pieces that are of one name, in µs of the declared root."""
    return sorted({piece.start_us + offset_us for piece in path})


def distance(instant: int, among: Sequence[int]) -> int:
    """To the nearest of them."""
    at = bisect_left(among, instant)
    return min((abs(instant - each) for each in among[max(at - 1, 0) : at + 1]), default=instant)


@dataclass(frozen=True, slots=True)
class Passage:
    """Where the declared path goes over from one piece to the next, and how far the observed path's nearest border is."""

    name: str
    distance_us: int
    across: str
    """The observed piece that goes over it."""
    is_busy: bool = False
    """The loop was busy all through that piece: it waited for nothing."""

    @property
    def is_border(self) -> bool:
        """Whether the observed path has a border there."""
        return self.distance_us <= NEAR_US

    @property
    def is_missed(self) -> bool:
        """Whether the observed path waits for something else there."""
        return not self.is_border and not self.is_busy


def passages(pair: Pair) -> Iterator[Passage]:
    """Those between pieces of two names that last long enough to be seen.

    Not the one from the dispatch: the declared one lasts until the plan's first step, the observed one until the entrypoint's.
    Nor the one to a caller who is not there yet: what comes before it nobody waited for.
    """
    observed = borders(pair.observed.path, pair.offset_us)
    path = [piece for piece in pair.declared.path if piece.duration_us >= LEAST_US]
    for before, after in pairwise(path):
        if before.name != after.name and not before.is_dispatch and after.name != ABSENT_CALLER:
            # between them lies what is too short, so that the passage is anywhere from the one's end to the other's begin
            end, begin = before.start_us + before.duration_us, after.start_us
            away = min(distance(end, observed), distance(begin, observed))
            over = next((piece for piece in pair.observed.path if _covers(piece, begin - pair.offset_us)), None)
            across, is_busy = ("nothing", False) if over is None else (label(over), over.kind in LOOP_IS_HELD)
            yield Passage(f"{before.name} > {after.name}", away, across, is_busy)


def _covers(piece: Piece, instant: int) -> bool:
    return piece.start_us <= instant <= piece.start_us + piece.duration_us


def label(piece: Piece) -> str:
    """Kind and line of an observed piece."""
    return (
        " ".join(filter(None, (piece.kind, str(piece.source or ""), piece.inside and f"in {piece.inside}")))
        or piece.name
    )


def shared_us(pair: Pair) -> Counter[tuple[str, str]]:
    """How long the declared path was on a name while the observed one was on a label."""
    found: Counter[tuple[str, str]] = Counter()
    for declared in pair.declared.path:
        begin, end = declared.start_us, declared.start_us + declared.duration_us
        for observed in pair.observed.path:
            start = observed.start_us + pair.offset_us
            overlap = min(end, start + observed.duration_us) - max(begin, start)
            if overlap > 0:
                found[declared.name, label(observed)] += overlap
    return found


def report(profile: str, found: Sequence[Pair], sessions: int) -> bool:
    """Print what differs in the starts of one profile; whether they agree."""
    print(f"\n{profile}: {len(found)} of {sessions} starts have both traces")
    if not found:
        return False
    apart: dict[str, list[int]] = defaultdict(list)
    for pair in found:
        for name, later in instants(pair).items():
            apart[name].append(later)
    for name, values in apart.items():
        most = max(values, key=abs)
        print(
            f"  {name}: observed later by {statistics.median(values) / 1000:.3f} ms at the median, {most / 1000:.3f} at most"
        )
    gone_over = [passage for pair in found for passage in passages(pair)]
    borders_there, missed = (sum(each.is_border for each in gone_over), sum(each.is_missed for each in gone_over))
    print(
        f"  {borders_there} of {len(gone_over)} passages of the declared path are borders of the observed one, "
        f"{len(gone_over) - borders_there - missed} lie where the loop was busy all through, {missed} are missed"
    )
    others = [each for each in gone_over if not each.is_border]
    for (name, across), count in Counter((each.name, each.across) for each in others).most_common(12):
        away = statistics.median(each.distance_us for each in others if (each.name, each.across) == (name, across))
        print(f"    {count} x {name}: {away / 1000:.1f} ms from the nearest, in {across}")
    shared: Counter[tuple[str, str]] = Counter()
    for pair in found:
        shared.update(shared_us(pair))
    print("  ms a start in which the declared path is on a task, and the observed one on a line:")
    for (name, line), us in shared.most_common(25):
        print(f"    {us / 1000 / len(found):7.1f}  {name:<14} {line}")
    told = zip(apart["first word"], apart["time to first word"], strict=True)
    late = sum(max(abs(instant), abs(waited)) > NEAR_US for instant, waited in told)
    wrong = sum(any(passage.is_missed for passage in passages(pair)) for pair in found)
    print(f"  first word differs in {late}, the path in {wrong}")
    return len(found) == sessions and max(late, wrong) <= MOST_DIFFERING * len(found)


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100, help="of each profile")
    parser.add_argument("--traces", type=Path, help="where they are kept; gone at the end otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(measure(options.sessions, options.traces or Path(name)))
        agree = [report(profile, found[profile], options.sessions) for profile in PROFILES]
    return 0 if all(agree) else 1


if __name__ == "__main__":
    raise SystemExit(main())
