"""Many sessions as a list, those first whose callers waited longest: what somebody on call looks at before any single one.

After `firstword.tuning.start`, for `firstword sessions`. Keeps as many as are shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from firstword.telemetry.record import Outcome
from firstword.tuning.spans import Trace
from firstword.tuning.start import RecordedStart, start_of
from firstword.tuning.wording import iso_date


@dataclass(frozen=True, slots=True)
class Listed:
    """The sessions of a list, and how many there are beside them."""

    sessions: tuple[RecordedStart, ...]
    """First those that failed or timed out, the longest first; then the others by how long their callers waited."""
    starts: int
    """Number of starts of ours in which a caller was there."""
    no_caller: int
    """Number of starts of ours to which nobody came."""
    others: int
    """Number of traces that aren't ours."""


def slowest_sessions(traces: Iterable[Trace], most: int) -> Listed:
    """Returns the `most` sessions to look at first: those that failed, then those whose callers waited longest. Raises
    what `traces` raises."""
    starts = no_caller = others = 0
    kept: list[tuple[tuple[bool, float, str], RecordedStart]] = []
    for trace in traces:
        if not trace.is_start:
            others += 1
            continue
        if trace.is_second:  # the declared one of the session says more
            continue
        start = start_of(trace)
        if start.outcome == Outcome.NO_CALLER:
            no_caller += 1
            continue
        starts += 1
        key = start.failed, waited_s(start), start.trace_id
        if len(kept) < most:
            heapq.heappush(kept, (key, start))
        elif key > kept[0][0]:
            heapq.heapreplace(kept, (key, start))
    ordered = sorted(kept, key=lambda each: (not each[0][0], -each[0][1], each[0][2]))
    return Listed(tuple(start for _, start in ordered), starts, no_caller, others)


def waited_s(start: RecordedStart) -> float:
    """Returns the seconds to the first word; where there was none, until the start ended."""
    return start.duration_us / 1e6 if start.ttfw_s is None else start.ttfw_s


def as_json(start: RecordedStart, page: str | None) -> dict[str, object]:
    """Returns one session as data for `sessions --json`, under its stable keys (docs/sessions.md).

    page: the address of its trace in Jaeger, if it is known.
    """
    return {
        "trace_id": start.trace_id,
        "began": iso_date(start.start_ns),
        "waited_s": waited_s(start),
        "ttfw_s": start.ttfw_s,
        "outcome": start.outcome,
        "critical_task": start.critical_task,
        "room_sid": start.room_sid,
        "job_id": start.job_id,
        "jaeger": page,
    }
