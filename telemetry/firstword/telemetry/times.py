"""Computes when a start begins, the stages of its dispatch, and its initialization without the wait for a caller who
was away.

Computed from `firstword.telemetry.record` (startup-trace.md, "Times"), written by `firstword.telemetry.layout`. Time to
first word is `record.Start.ttfw`.
"""

from __future__ import annotations

from collections.abc import Sequence

from firstword.telemetry.record import Dispatch, DispatchStage, Start
from firstword.telemetry.vocabulary import ENTRYPOINT

SLOW_S = 1.5
"""Seconds to the first word above which a start is slow, where nobody says otherwise."""
JOIN_WINDOW = 5.0
"""Seconds. A caller who joined longer before the job was in a running conversation (`late`)."""


def root_start(received: int, joined: int | None, join_window: float = JOIN_WINDOW) -> tuple[int, Dispatch]:
    """Returns when the root begins (ns), and how the job came relative to the caller.

    received: when the worker learnt of the job, ns. joined: when the caller joined, ns; None if nobody has.
    join_window: seconds by which the caller may have joined before the job for `join`.
    """
    if joined is None or joined > received:
        return received, Dispatch.AHEAD
    if received - joined > join_window * 1e9:
        return received, Dispatch.LATE
    return joined, Dispatch.JOIN


def dispatch_stages(ends: Sequence[tuple[str, int]], start: int, first_step: int) -> tuple[DispatchStage, ...]:
    """Returns the stages of the dispatch, without those that were over before the root's start or took no time.

    ends: name and end of each stage except the last, in order. The last one ends with the first step. Empty if they are
    not known. All times are in ns.
    """
    stages: list[DispatchStage] = []
    begin = start
    for name, end in (*ends, (ENTRYPOINT, first_step)) if ends else ():
        until = min(max(end, begin), first_step)
        if until > begin:
            stages.append(DispatchStage(name, begin, until))
        begin = max(begin, until)
    return tuple(stages)


def initialization(start: Start) -> float | None:
    """Returns the seconds from the job's receipt until the session could hold a conversation. None if it never could.

    It leaves out the time in which the caller was away and no other task that readiness needs was running. A task
    counts from when its needs were there, and the dispatch counts as one. A task that waits for the caller does not
    count before they came.
    """
    if start.ready is None:
        return None
    received = start.start if start.received is None else start.received
    came = start.ready if start.joined is None else min(start.joined, start.ready)
    busy = [(received, start.first_step)]
    for name in _needed_by_readiness(start):
        task = start.task(name)
        if task.outside is None or task.outside < came:
            busy.append((task.ready, task.end))
    idle, reached = 0, received
    for begin, end in sorted(busy):
        idle += max(min(begin, came) - reached, 0)
        reached = max(reached, end)
    idle += max(came - reached, 0)
    return (start.ready - received - idle) / 1e9


def _needed_by_readiness(start: Start) -> set[str]:
    edges = {task.name: task.edges for task in start.tasks}
    pending = [task.name for task in start.tasks if task.readies]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name in edges and name not in found:
            found.add(name)
            pending.extend(edges[name])
    return found
