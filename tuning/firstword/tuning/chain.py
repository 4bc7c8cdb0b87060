"""The critical chain: the path as a chain of waits, from the first word back, and what each link of it needed besides.

After `firstword.tuning.start`, for `firstword critical-chain`. What `systemd-analyze critical-chain` is to a boot.
"""

from __future__ import annotations

from dataclasses import dataclass

from firstword.tuning.start import Method, Piece, RecordedStart, TracedTask


@dataclass(frozen=True, slots=True)
class Entry:
    """One link of the chain: what was waited for, in µs from the root's start."""

    name: str
    task: TracedTask | None
    """None for what is no task's, and in traces that aren't ours."""
    start_us: int
    duration_us: int
    held_by: str | None
    spared: tuple[TracedTask, ...]
    """What the task needed too and did not have to wait for, the last to finish first; each in one entry only."""


def chain_of(start: RecordedStart) -> tuple[Entry, ...]:
    """The chain from the first word (or what the start ended with) back: each entry waited for the one after it."""
    tasks = {task.name: task for task in start.tasks}
    shown = {piece.task for piece in start.path}
    entries: list[Entry] = []
    for pieces in reversed(_runs(start)):
        first, last = pieces[0], pieces[-1]
        task = tasks.get(first.task) if first.task else None
        spared = (
            [tasks[name] for name in (*task.needs, *task.order) if name in tasks and name not in shown] if task else []
        )
        shown.update(other.name for other in spared)
        entries.append(
            Entry(
                name=first.name,
                task=task,
                start_us=first.start_us,
                duration_us=last.start_us + last.duration_us - first.start_us,
                held_by=first.held_by,
                spared=tuple(sorted(spared, key=lambda other: -(other.start_us + other.duration_us))),
            )
        )
    return tuple(entries)


def _runs(start: RecordedStart) -> list[list[Piece]]:
    """The pieces of one wait together, which the phases' borders cut; in other traces each piece is one."""
    runs: list[list[Piece]] = []
    for piece in start.path:
        if runs and start.method is Method.EXACT and piece.name == runs[-1][-1].name:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs
