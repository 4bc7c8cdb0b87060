"""The costs of one start, which `blame` keeps as a few numbers: what its caller waited for, and what each task cost.

Between `firstword.tuning.start` and `firstword.tuning.blame`. `firstword.tuning.glance` makes the same of Jaeger's
files by a shorter way.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from firstword.telemetry.record import Outcome
from firstword.telemetry.vocabulary import ABSENT_CALLER, DISPATCH, EVENT_LOOP
from firstword.tuning.sampling import sampling_of
from firstword.tuning.spans import Trace
from firstword.tuning.start import Method, Piece, RecordedStart, start_of


class Among(StrEnum):
    """Kinds of traces. Figures are made of one kind only: the first of these that a source has."""

    HEARD = "first_word"
    UNHEARD = "no_first_word"
    """Starts that failed, timed out or were abandoned: their figures lead to that event in place of the first word."""
    OTHERS = "others"
    """Traces that aren't ours: no drag, no contention, and the path is guessed."""


class Kind(StrEnum):
    """What kind of thing a caller waited for: a task, the dispatch, the event loop, a line of source, or a span."""

    TASK = "task"
    DISPATCH = DISPATCH
    EVENT_LOOP = EVENT_LOOP
    LINE = "line"
    """In an observed start, the user's line that waited or computed; where none is known, the kind of the piece."""
    SPAN = "span"
    """A span of a trace whose path is guessed."""


class Cause(NamedTuple):
    """What a caller waited for: its kind and name. It is a named tuple because it is looked up as a key many times a start."""

    kind: Kind
    name: str
    """The task's or the span's; `dispatch` or `dispatch.STAGE`; FILE:LINE FUNCTION; of the event loop what held it, empty
    where nothing did.
    """

    def __str__(self) -> str:
        if self.kind is Kind.EVENT_LOOP:
            return f"{EVENT_LOOP}, held by {self.name}" if self.name else EVENT_LOOP
        return self.name


class TaskCost(NamedTuple):
    """What one task cost in one start: seconds, 0 where its span does not say."""

    name: str
    duration: float
    drag: float
    contention: float
    loop_time: float
    cache: str | None


class Waited(NamedTuple):
    """One stretch of a start's critical path: its cause, its phase, and its length in µs."""

    cause: Cause
    phase: str
    """The phase of the start; in a trace that isn't ours, the root's name."""
    us: int


class Costs(NamedTuple):
    """The costs of one start. It is a named tuple because ten thousand of them are made in a second."""

    among: Among | None
    """The kind of trace; None where nobody called."""
    waited: float
    """Seconds to the first word; to the start's end where there was none."""
    weight: float
    """How many starts it stands for."""
    tasks: Sequence[TaskCost]
    path: Sequence[Waited]
    """The critical path in time order, without the stretches of an absent caller."""
    method: Method = Method.EXACT


def costs_of(trace: Trace) -> Costs:
    """Returns the costs of one trace, whoever wrote it."""
    start = start_of(trace)
    return Costs(
        among=_among(trace, start),
        waited=start.duration_us / 1e6 if start.ttfw_s is None else start.ttfw_s,
        weight=sampling_of(trace).weight,
        tasks=[
            TaskCost(
                task.name,
                task.duration_us / 1e6,
                task.drag or 0.0,
                task.contention or 0.0,
                task.loop_time or 0.0,
                task.cache,
            )
            for task in start.tasks
        ],
        path=path_of(start),
        method=start.method,
    )


def path_of(start: RecordedStart) -> list[Waited]:
    """Returns the stretches of a start's critical path in time order, without those of an absent caller."""
    # where the path had to be guessed, its pieces are spans: some are tasks'
    tasks = {task.name for task in start.tasks} if start.method is Method.GUESSED else frozenset[str]()
    found: list[Waited] = []
    for piece in start.path:
        if piece.name != ABSENT_CALLER or start.method is Method.GUESSED:
            phase = next((p.name for p in reversed(start.phases) if p.start_us <= piece.start_us), start.name)
            found.append(Waited(_cause(piece, start, piece.name in tasks), phase, piece.duration_us))
    return found


def _cause(piece: Piece, start: RecordedStart, is_task: bool) -> Cause:
    if piece.task is not None or is_task:
        return Cause(Kind.TASK, piece.task or piece.name)
    if start.method is Method.GUESSED:
        return Cause(Kind.SPAN, piece.name)
    if EVENT_LOOP in (piece.kind, piece.name):
        return Cause(Kind.EVENT_LOOP, piece.held_by or "")
    if piece.kind is None:
        return Cause(Kind.DISPATCH, piece.name)
    return Cause(Kind.LINE, piece.kind if piece.source is None else str(piece.source))


def _among(trace: Trace, start: RecordedStart) -> Among | None:
    if not trace.is_start:
        return Among.OTHERS
    if start.outcome == Outcome.NO_CALLER:
        return None
    return Among.HEARD if start.outcome == Outcome.FIRST_WORD else Among.UNHEARD
