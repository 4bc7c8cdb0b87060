"""The critical chain: the path as a chain of waits, from the first word back, and what each link of it needed besides.

After `firstword.tuning.start`, for `firstword critical-chain`. What `systemd-analyze critical-chain` is to a boot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from firstword.telemetry.source_lines import SourceLine
from firstword.telemetry.vocabulary import EVENT_LOOP
from firstword.tuning.start import Method, Piece, RecordedStart, TracedTask


class KindTime(NamedTuple):
    """The part of an observed entry that is of one kind and in one library function, and how long it took."""

    kind: str
    inside: str | None
    duration_us: int
    held_by: str | None
    """For the event loop: what held it longest."""


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One entry of the chain: what was waited for, and from when to when, in µs from the root's start."""

    name: str
    task: TracedTask | None
    """The task that was waited for; None where it is something else, in observed starts, and in traces that aren't ours."""
    start_us: int
    duration_us: int
    held_by: str | None
    """For a delay by the event loop: what held it. None where the entry has several kinds, which say it themselves."""
    spared: tuple[TracedTask, ...]
    """Other tasks that the task needed and did not have to wait for, the last to finish first. Each is in one entry only."""
    source: SourceLine | None = None
    """The user's line of source, in an observed start."""
    kinds: tuple[KindTime, ...] = ()
    """In an observed start, the kinds of waiting in the entry, the longest first."""


def chain_of(start: RecordedStart) -> tuple[ChainEntry, ...]:
    """Returns the chain of waits, from the first word (or what the start ended with) back: each entry waited for the one after it."""
    tasks = {task.name: task for task in start.tasks}
    shown = {piece.task for piece in start.path}
    entries: list[ChainEntry] = []
    for pieces in reversed(_runs(start)):
        first, last = pieces[0], pieces[-1]
        task = tasks.get(first.task) if first.task else None
        spared = (
            [tasks[name] for name in (*task.needs, *task.order) if name in tasks and name not in shown] if task else []
        )
        shown.update(other.name for other in spared)
        kinds = sorted(_kinds(pieces), key=lambda each: -each.duration_us)
        held_by = first.held_by if not kinds else kinds[0].held_by if len(kinds) == 1 else None
        entries.append(
            ChainEntry(
                name=first.name,
                task=task,
                start_us=first.start_us,
                duration_us=last.start_us + last.duration_us - first.start_us,
                held_by=held_by,
                spared=tuple(sorted(spared, key=lambda other: -(other.start_us + other.duration_us))),
                source=first.source,
                kinds=tuple(kinds),
            )
        )
    return tuple(entries)


def _runs(start: RecordedStart) -> list[list[Piece]]:
    """The pieces of one wait together, which the phases' borders cut; where the path is guessed each piece is one."""
    if start.method is Method.GUESSED:
        return [[piece] for piece in start.path]
    runs = [list(run) for _, run in groupby(start.path, key=lambda piece: piece.source or piece.name)]
    return _with_what_lies_inside(runs) if start.method is Method.OBSERVED else runs


def _with_what_lies_inside(runs: Sequence[list[Piece]]) -> list[list[Piece]]:
    """Observed pieces of no line that lie between two of one line, with them."""
    joined: list[list[Piece]] = []
    between: list[list[Piece]] = []
    for run in runs:
        source = run[0].source
        if source is None and run[0].kind is not None and joined:
            between.append(run)
            continue
        if source is not None and joined and source == joined[-1][0].source:
            joined[-1].extend(piece for each in (*between, run) for piece in each)
        else:
            joined += [*between, run]
        between = []
    return [*joined, *between]


def _kinds(pieces: Sequence[Piece]) -> Iterator[KindTime]:
    held: dict[tuple[str, str | None], dict[str | None, int]] = {}
    for piece in pieces:
        if piece.kind is not None:
            # whom a step that waits for the loop works for explains nothing of its delay
            by = held.setdefault((piece.kind, None if piece.kind == EVENT_LOOP else piece.inside), {})
            by[piece.held_by] = by.get(piece.held_by, 0) + piece.duration_us
    for (kind, inside), by in held.items():
        named = {name: us for name, us in by.items() if name is not None}
        yield KindTime(kind, inside, sum(by.values()), max(named, key=lambda name: named[name], default=None))
