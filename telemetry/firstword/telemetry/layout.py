"""Lays out a start and its critical path as spans in plain data: names, times, attributes, links; no OpenTelemetry.

Between `firstword.telemetry.critical_path` and `firstword.telemetry.spans`, which gives each span its ids. The shape is
startup-trace.md's. A viewer that knows only times walks back from the root's end over the child that finished last
(`firstword.telemetry.inferred_path`). In this shape it finds the exact path. That rule works in whole microseconds, and
wants the next child to end strictly before. So neighbours are 1 µs apart, and nothing else ends where a phase does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Literal, NamedTuple, Protocol, TypeVar

from firstword.telemetry import vocabulary as words
from firstword.telemetry.critical_path import Analysis, PathPiece, PieceKind, TaskAnalysis, running_at_end
from firstword.telemetry.record import Outcome, Phase, Start, Task, TaskState
from firstword.telemetry.times import SLOW_S, initialization

Attribute = str | bool | int | float | tuple[str, ...]

LEAST_PIECE_US = 2
"""Microseconds. A piece that would be shorter as a span joins the next."""
MOST_STEPS = 24
"""Most steps of the event loop that a task's span lists. LiveKit's session has hundreds."""

ROOT_KEY = "root"


def task_key(task: str) -> str:
    """Returns the key of a task's span."""
    return f"task.{task}"


@dataclass(frozen=True, slots=True)
class SpanData:
    """One span of a start as plain data, with keys instead of ids. Times are in microseconds since the Unix epoch."""

    key: str
    """Unique in the start, and the same each time the start is laid out."""
    name: str
    parent_key: str | None
    kind: Literal["server", "internal", "producer", "consumer"]
    start_us: int
    end_us: int
    attributes: Mapping[str, Attribute]
    links: tuple[tuple[str, str], ...] = ()
    """For each link: the key of the span that is linked, and the kind of edge (`startup.edge`)."""
    error: bool = False


class PhaseStretch(Protocol):
    """Protocol of a stretch of a critical path, however it was found. Times are in ns since the Unix epoch."""

    @property
    def start(self) -> int:
        """Returns when the stretch begins, ns."""
        ...

    @property
    def end(self) -> int:
        """Returns when the stretch ends, ns."""
        ...


S = TypeVar("S", bound=PhaseStretch)


class PieceSpan(NamedTuple):
    """The name, attributes and links of the span of one piece of the critical path. Its times are kept apart."""

    name: str
    """The name without the prefix `critical `."""
    attributes: Mapping[str, Attribute]
    links: tuple[tuple[str, str], ...] = ()


def lay_out(start: Start, analysis: Analysis, *, slow: float = SLOW_S) -> tuple[SpanData, ...]:
    """Returns all spans of a start with a plan, a parent before its children.

    slow: seconds of time to first word above which the start is marked `startup.slow`. It may be called at the first
    word and again when all is done. The second call returns the spans of the first unchanged, except those that
    `unsettled` names.
    """
    spans = list(
        lay_out_path(
            start, analysis.pieces, _piece, method=words.EXACT, critical_task=analysis.critical_task, slow=slow
        )
    )
    phases = _Phases.of(start)
    for task in start.tasks:
        spans.extend(_task(task, start, analysis.figures[task.name], phases))
    if start.ready is not None:
        spans.append(_ready(start, start.ready))
    return tuple(spans)


def lay_out_path(
    start: Start,
    pieces: Sequence[S],
    piece_span: Callable[[S], PieceSpan],
    *,
    method: str,
    critical_task: str | None,
    slow: float = SLOW_S,
) -> tuple[SpanData, ...]:
    """Returns the spans of a start without its tasks: root, dispatch, phases, and under these the critical path.

    pieces: from the root's start to its end, in time order, without gap or overlap; or none if the path is not known.
    piece_span: returns name and attributes of a piece's span. method: how the path was found (`startup.method`).
    critical_task: what has most time on the path. slow: as for `lay_out`.
    """
    phases = _Phases.of(start)
    spans = [_root(start, method, critical_task, slow)]
    keys = (f"piece.{i}" for i in count())
    for phase, begin, end in phases.spans:
        key = f"phase.{phase.name}"
        spans.append(SpanData(key, phase.name, ROOT_KEY, "internal", begin, end, {}))
        for piece, piece_begin, piece_end in _stretches(pieces, phase, begin, end):
            name, attributes, links = piece_span(piece)
            name = words.CRITICAL_PREFIX + name
            spans.append(SpanData(next(keys), name, key, "internal", piece_begin, piece_end, attributes, links))
    return tuple(spans)


def without_shortest_delay(pieces: tuple[PathPiece, ...]) -> tuple[PathPiece, ...]:
    """Returns the path with the shortest delay by the event loop joined to the task's piece after it; unchanged if
    there is none.

    For a start that would have too many spans: the path still covers the start, and its tasks are as they were.
    """
    delays = [
        (piece.end - piece.start, i)
        for i, (piece, after) in enumerate(pairwise(pieces))
        if piece.kind is PieceKind.EVENT_LOOP and after.kind is PieceKind.TASK
    ]
    if not delays:
        return pieces
    _, i = min(delays)
    return (*pieces[:i], replace(pieces[i + 1], start=pieces[i].start), *pieces[i + 2 :])


def unsettled(start: Start) -> frozenset[str]:
    """Returns the keys of the spans that may change in a later record of the same start: those of tasks that still run."""
    return frozenset(task_key(task.name) for task in start.tasks if task.state is TaskState.RUNNING)


def _us(instant: int) -> int:
    return (instant + 500) // 1000


@dataclass(frozen=True, slots=True)
class _Phases:
    """The phases on the grid of microseconds, and the instants at which nothing beside them may end."""

    spans: tuple[tuple[Phase, int, int], ...]
    root_start: int
    taken: frozenset[int]

    @staticmethod
    def of(start: Start) -> _Phases:
        phases = _with_dispatch(start)
        begins = [_us(phase.start) for phase in phases]
        borders = begins[1:]
        ends = [max(begin, border - 1) for begin, border in zip(begins, borders, strict=False)]
        spans = tuple(zip(phases, begins, [*ends, _us(start.end)], strict=False))
        # also where the next phase begins: CRISP takes a child that ends there for its predecessor
        return _Phases(spans, _us(start.start), frozenset((*ends, *borders, _us(start.end))))

    def beside(self, instant: int) -> int:
        """Where a span beside the phases ends that ended at `instant` (ns)."""
        us = _us(instant)
        while us in self.taken:
            us -= 1
        return max(us, self.root_start)

    def name_at(self, instant: int) -> str | None:
        """The phase of an instant (ns); None after the last."""
        return next((phase.name for phase, _, _ in self.spans if instant < phase.end), None)


def _with_dispatch(start: Start) -> tuple[Phase, ...]:
    """The dispatch as a phase, up to the plan's first step, and the plan's phases from there."""
    first_step = min(max(start.first_step, start.start), start.end)
    plans = (Phase(p.name, max(p.start, first_step), max(p.end, first_step)) for p in start.phases)
    return (Phase(words.DISPATCH, start.start, first_step), *plans)


def _root(start: Start, method: str, critical_task: str | None, slow: float) -> SpanData:
    attributes: dict[str, Attribute] = {
        **start.attributes,
        words.METHOD: method,
        words.OUTCOME: start.outcome.value,
        words.DURATION: (start.end - start.start) / 1e9,
        words.SLOW: _is_slow(start, slow),
        words.DISPATCH_KIND: start.dispatch.value,
        # of those that had ended: what a detached task does later is not known when the root is exported
        words.FALLBACKS: sum(t.state is TaskState.FALLBACK and t.end <= start.end for t in start.tasks),
        words.CLOCK_SKEW: start.clock_skew,
        **{words.FLAG_PREFIX + flag: variant for flag, variant in start.flags.items()},
    }
    if start.ttfw is not None:
        attributes[words.TTFW] = start.ttfw
    if critical_task is not None:
        attributes[words.CRITICAL_TASK] = critical_task
    for task in start.tasks:
        if start.outcome is Outcome.FAILED and task.name == start.last and task.error_type is not None:
            attributes[words.ERROR_TYPE] = task.error_type
    error = start.outcome in (Outcome.FAILED, Outcome.TIMED_OUT)
    return SpanData(ROOT_KEY, words.ROOT, None, "server", _us(start.start), _us(start.end), attributes, error=error)


def _is_slow(start: Start, slow: float) -> bool:
    if start.ttfw is not None:
        return start.ttfw > slow
    return start.joined is not None and start.outcome in (Outcome.FAILED, Outcome.TIMED_OUT)


def _stretches(pieces: Sequence[S], phase: Phase, begin: int, end: int) -> list[tuple[S, int, int]]:
    """The path under one phase: piece, start and end in microseconds, the last ending with the phase's span."""
    inside = [piece for piece in pieces if piece.start < phase.end and piece.end > phase.start]
    if not inside or begin == end:
        return []
    stretches: list[tuple[S, int, int]] = []
    last = inside.pop()
    for piece in inside:
        border = _us(piece.end)
        if border - 1 - begin >= LEAST_PIECE_US:
            stretches.append((piece, begin, border - 1))
            begin = border
    if stretches and end - begin < LEAST_PIECE_US:
        # no other follows under this phase: it joins the one before
        last, begin, _ = stretches.pop()
    return [*stretches, (last, begin, end)]


def _piece(piece: PathPiece) -> PieceSpan:
    attributes: dict[str, Attribute] = {}
    links: tuple[tuple[str, str], ...] = ()
    if piece.task is not None:
        attributes[words.TASK] = piece.task
        links = ((task_key(piece.task), words.EDGE_TASK),)
    if piece.held_by is not None:
        attributes[words.HELD_BY] = piece.held_by
    return PieceSpan(piece.name, attributes, links)


def _task(task: Task, start: Start, figures: TaskAnalysis, phases: _Phases) -> Iterator[SpanData]:
    """The task's span; before it, for one that the first word left running, the span that takes it off the path."""
    key, name = task_key(task.name), task.name
    attributes = _task_attributes(task, figures, phases, _steps(task, start))
    links = _links(task, start)
    error = task.state is TaskState.FAILED
    needed = task.name == start.last or task.name in start.first_word_needs
    if task.deferred or (task.begin >= start.end and not needed):
        if task.deferred:
            name = words.DEFERRED_PREFIX + name
        begin = max(_us(task.begin), _us(start.end) + 1)
        end = max(_us(task.end), begin)
        yield SpanData(key, name, ROOT_KEY, "internal", begin, end, attributes, links, error)
    elif needed or not running_at_end(task, start):
        # what a start without a first word cancelled ends with it
        end = phases.beside(min(task.end, start.end))
        begin = min(_us(task.begin), end)
        yield SpanData(key, name, ROOT_KEY, "internal", begin, end, attributes, links, error)
    else:
        begin = _us(task.begin)
        at = phases.beside(task.begin)
        yield SpanData(f"detached.{name}", words.DETACHED, ROOT_KEY, "producer", at, at, {})
        end = max(_us(task.end), begin)
        yield SpanData(key, name, f"detached.{name}", "consumer", begin, end, attributes, links, error)


def _task_attributes(task: Task, figures: TaskAnalysis, phases: _Phases, steps: str) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {
        words.NEEDS: task.needs,
        words.CRITICAL: figures.critical,
        words.DRAG: figures.drag,
        words.CONTENTION: figures.contention,
        words.LOOP_TIME: figures.loop_time,
        words.READY_DELAY: figures.ready_delay,
    }
    optional = {
        words.PHASE: phases.name_at(task.begin),
        words.SLACK: figures.slack,
        words.LOOP_HOLDS: steps or None,
        words.CACHE: task.cache,
        words.ERROR_TYPE: task.error_type,
        words.DEFERRED: task.deferred or None,
    }
    attributes.update({key: value for key, value in optional.items() if value is not None})
    return attributes


def _steps(task: Task, start: Start) -> str:
    """At most `MOST_STEPS`: where there are more, those with the least between them, and the least of their own, are one.

    Of what it started, those until the root's end, as for its loop time.
    """
    end = max(start.end, task.end)
    steps = [(step.start, min(step.end, end)) for step in task.steps if step.start < end]
    if len(steps) <= MOST_STEPS:
        return " ".join(f"{(a - task.begin) // 1000}+{(b - a) // 1000}" for a, b in steps)
    between = [(c - b + min(b - a, d - c), i) for i, ((a, b), (c, d)) in enumerate(pairwise(steps), 1)]
    borders = [0, *sorted(i for _, i in sorted(between)[-(MOST_STEPS - 1) :]), len(steps)]
    joined = [(steps[i][0], sum(b - a for a, b in steps[i:j])) for i, j in pairwise(borders)]
    return " ".join(f"{(a - task.begin) // 1000}+{length // 1000}" for a, length in joined)


def _links(task: Task, start: Start) -> tuple[tuple[str, str], ...]:
    known = {other.name for other in start.tasks}
    return tuple(
        (task_key(name), words.EDGE_NEEDS if name in task.needs else words.EDGE_ORDER)
        for name in task.edges
        if name in known
    )


def _ready(start: Start, ready: int) -> SpanData:
    begin = _us(start.end) + 1
    init = initialization(start)
    attributes: dict[str, Attribute] = {} if init is None else {words.INIT: init}
    return SpanData(words.READY, words.READY, ROOT_KEY, "internal", begin, max(_us(ready), begin), attributes)
