"""Turns a trace into a start: what the caller waited for and what each task cost, as the trace says it.

After `firstword.tuning.sources`; every command that explains or compares asks here. The path of a start that
`telemetry` wrote, declared or observed, is read from its `critical` spans, and nothing is computed again. That of any
other trace is guessed by `firstword.telemetry.inferred_path`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from firstword.telemetry import vocabulary as words
from firstword.telemetry.inferred_path import last_finishing_path
from firstword.telemetry.record import Outcome
from firstword.telemetry.source_lines import SourceLine
from firstword.tuning.spans import Span, Trace, Value, plausible, without_needs
from firstword.tuning.wording import iso_date

_MOST_LINES = 10_000_000
"""Of a file of source."""
_GAP_US = 5
"""The writer leaves 1 µs between pieces, and a little more about phases that have hardly a length."""


class Method(StrEnum):
    """How the critical path was found: by its plan, on the event loop, or guessed from times (`startup.method`)."""

    EXACT = words.EXACT
    OBSERVED = words.OBSERVED
    GUESSED = words.GUESSED
    """By the last-finishing-child rule, or the start itself says so."""


_METHODS: Mapping[object, Method] = {method.value: method for method in Method}


def method_of_all(starts: Iterable[Method]) -> str | None:
    """Returns the method that all starts have, `mixed` where they differ; None where there is no start."""
    found = {method.value for method in starts}
    return "mixed" if len(found) > 1 else next(iter(found), None)


@dataclass(frozen=True, slots=True)
class Piece:
    """One stretch of the critical path, in µs from the root's start."""

    span_id: str
    """Id of the `critical` span; in a trace that isn't ours, of the span itself."""
    name: str
    """The task's name, `dispatch` or `dispatch.STAGE`, `event loop` or `absent caller`; of an observed one the function's;
    the span's where the path is guessed.
    """
    task: str | None
    task_span_id: str | None
    start_us: int
    duration_us: int
    held_by: str | None = None
    """For a delay by the event loop: the task that held the loop most in it."""
    kind: str | None = None
    """For an observed piece: one of the vocabulary's `KINDS`. None for `dispatch`, `absent caller`, and any other."""
    source: SourceLine | None = None
    """The user's line of source, as the trace says it: anybody may have written it. Its function is empty where the trace says none."""
    inside: str | None = None
    """For an observed piece: the library's function that was at work for the line."""

    @property
    def is_dispatch(self) -> bool:
        """Returns whether the piece is the dispatch or a stage of it. In a path that is guessed it says nothing."""
        return self.task is None and self.kind is None and self.name.startswith(words.DISPATCH)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A phase of a start, in µs from the root's start."""

    name: str
    start_us: int
    duration_us: int


class LoopHold(NamedTuple):
    """One stretch in which a task held the event loop, in µs from the root's start."""

    start_us: int
    duration_us: int


class MadeBeside(NamedTuple):
    """Something that was made beside an observed path and needed on it, such as a connection; in µs from the root's start."""

    start_us: int
    """When its causes left the path."""
    duration_us: int
    needed_us: int
    """When the path needed it, which waited for something else until then."""
    delayed_us: int
    """For how much of it something else held the event loop."""


class LeftRunning(NamedTuple):
    """Something that a library began in a task and ended after it, such as a connection made in the background."""

    name: str
    """The span's name; for a request, with the path of its URL."""
    end_us: int
    """When it ended, in µs from the root's start."""


@dataclass(frozen=True, slots=True)
class TracedTask:
    """One task as its span tells it: times in µs from the root's start, figures in seconds, None where the span has none."""

    name: str
    span_id: str
    start_us: int
    duration_us: int
    needs: tuple[str, ...]
    order: tuple[str, ...]
    """Tasks that it waited for without needing them, in declared order."""
    critical: float | None
    slack: float | None
    drag: float | None
    contention: float | None
    loop_time: float | None
    ready_delay: float | None
    phase: str | None
    cache: str | None
    error_type: str | None
    deferred: bool
    detached: bool
    """Whether it still ran at the first word, which did not need it."""
    steps_told: str = ""
    """The stretches on the event loop as the span has them. `steps` reads them only when asked, since only a replay wants them."""
    left_running: tuple[LeftRunning, ...] = ()

    @property
    def steps(self) -> tuple[LoopHold, ...]:
        """Returns the stretches in which it held the event loop, ascending, also of what it started that goes on after
        its end.

        Stretches that can't be read are left out.
        """
        found = (re.fullmatch(r"(-?\d{1,15})\+(\d{1,15})", step) for step in self.steps_told.split())
        return tuple(sorted(LoopHold(self.start_us + int(step[1]), int(step[2])) for step in found if step))


@dataclass(frozen=True, slots=True)
class RecordedStart:
    """One start-up read back from its trace. In a trace that isn't ours, all from `outcome` on is empty or None."""

    trace_id: str
    root_span_id: str
    name: str
    """Name of the root span."""
    start_ns: int
    duration_us: int
    method: Method
    path: tuple[Piece, ...]
    """In time order."""
    outcome: str | None = None
    dispatch: str | None = None
    ttfw_s: float | None = None
    init_s: float | None = None
    critical_task: str | None = None
    """The task, or stage of the dispatch, with the most time on the path."""
    fallbacks: int = 0
    """Number of tasks that used their fallback."""
    tasks: tuple[TracedTask, ...] = ()
    """In the order in which they began."""
    phases: tuple[Stretch, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    room_sid: str | None = None
    job_id: str | None = None
    unobserved: str | None = None
    """Why its path was not observed, though that was asked for."""
    beside: tuple[MadeBeside, ...] = ()
    """For an observed path."""

    @property
    def failed(self) -> bool:
        """Returns whether the start counts as an error (docs/startup-trace.md)."""
        return self.outcome in (Outcome.FAILED, Outcome.TIMED_OUT)

    def as_json(self) -> dict[str, object]:
        """Returns the start as data for `critical-chain --json`, under its stable keys (docs/critical-chain.md)."""
        return {
            "trace_id": self.trace_id,
            "root_span_id": self.root_span_id,
            "began": iso_date(self.start_ns),
            "ttfw_s": self.ttfw_s,
            "duration_us": self.duration_us,
            "method": self.method.value,
            "path": [
                {
                    "span_id": piece.span_id,
                    "name": piece.name,
                    "task": piece.task,
                    "task_span_id": piece.task_span_id,
                    "start_us": piece.start_us,
                    "duration_us": piece.duration_us,
                    "kind": piece.kind,
                    "file": piece.source and piece.source.file,
                    "line": piece.source and piece.source.line,
                    "function": (piece.source and piece.source.function) or None,
                }
                for piece in self.path
            ],
        }


def start_of(trace: Trace) -> RecordedStart:
    """Reads the start that a trace tells of, whoever wrote the trace.

    A start of ours whose `critical` spans don't cover it (some were lost) is taken as a trace of others: `method` says
    so.
    """
    root, ours = trace.root, trace.is_start
    written = _written_path(trace) if ours else None
    told = root.attributes if ours else dict[str, Value]()
    return RecordedStart(
        trace_id=trace.trace_id,
        root_span_id=root.span_id,
        name=root.name,
        start_ns=root.start_ns,
        duration_us=root.duration_us,
        method=Method.GUESSED if written is None else _METHODS.get(told.get(words.METHOD), Method.EXACT),
        path=_likely_path(trace) if written is None else written,
        outcome=_text(told, words.OUTCOME),
        dispatch=_text(told, words.DISPATCH_KIND),
        ttfw_s=_number(told, words.TTFW),
        init_s=next((_number(span.attributes, words.INIT) for span in trace.spans if span.name == words.READY), None),
        critical_task=_text(told, words.CRITICAL_TASK),
        fallbacks=round(_number(told, words.FALLBACKS) or 0),
        tasks=_tasks(trace) if ours else (),
        phases=tuple(_stretch(span, root) for span in _phase_spans(trace)) if ours else (),
        flags={k.removeprefix(words.FLAG_PREFIX): str(v) for k, v in told.items() if k.startswith(words.FLAG_PREFIX)},
        room_sid=_text(told, words.ROOM_SID),
        job_id=_text(told, words.JOB_ID),
        unobserved=_text(told, words.UNOBSERVED),
        beside=tuple(_beside(_text(told, words.BESIDE) or "")),
    )


def _beside(told: str) -> Iterator[MadeBeside]:
    """Those that can be read."""
    for each in told.split():
        found = re.fullmatch(r"(-?\d{1,15})\+(\d{1,15})-(\d{1,15})>(\d{1,15})", each)
        if found is not None:
            start_us, duration_us, delayed_us, needed_us = map(int, found.groups())
            if start_us + duration_us <= needed_us and delayed_us <= duration_us:
                yield MadeBeside(start_us, duration_us, needed_us, delayed_us)


def _likely_path(trace: Trace) -> tuple[Piece, ...]:
    root = trace.root
    names = {span.span_id: span.name for span in trace.spans}
    blocking = [without_needs(span) for span in trace.spans if not span.follows or span is root]
    root_us = root.start_ns // 1000
    return tuple(
        Piece(
            piece.task, names[piece.task], None, None, piece.start // 1000 - root_us, (piece.end - piece.start) // 1000
        )
        for piece in last_finishing_path(blocking, root.span_id)
        if piece.task is not None
    )


def _written_path(trace: Trace) -> tuple[Piece, ...] | None:
    """The pieces under the phases; None where they don't cover the root: spans are missing."""
    root = trace.root
    phases = {span.span_id for span in _phase_spans(trace)}
    ids = {task.name: task.span_id for task in _tasks(trace)}
    spans = [span for span in trace.spans if span.parent_id in phases and span.name.startswith(words.CRITICAL_PREFIX)]
    path = tuple(_piece(span, root, ids) for span in sorted(spans, key=lambda span: (span.start_ns, span.span_id)))
    borders = [0, *(border for p in path for border in (p.start_us, p.start_us + p.duration_us)), root.duration_us]
    gaps = [after - before for before, after in pairwise(borders)][::2]
    return path if all(0 <= gap <= _GAP_US for gap in gaps) else None


def _piece(span: Span, root: Span, ids: Mapping[str, str]) -> Piece:
    task = _text(span.attributes, words.TASK)
    linked = [link.span_id for link in span.links if link.trace_id == root.trace_id]
    return Piece(
        span_id=span.span_id,
        name=task or span.name.removeprefix(words.CRITICAL_PREFIX),
        task=task,
        task_span_id=(linked[0] if linked else ids.get(task)) if task else None,
        start_us=_since(root, span),
        duration_us=span.duration_us,
        held_by=_text(span.attributes, words.HELD_BY),
        kind=kind if (kind := _text(span.attributes, words.KIND)) in words.KINDS else None,
        source=_source_line(span.attributes),
        inside=_text(span.attributes, words.INSIDE),
    )


def _source_line(told: Mapping[str, Value]) -> SourceLine | None:
    file, line = _text(told, words.FILE), told.get(words.LINE)
    if not file or isinstance(line, bool) or not isinstance(line, int) or not 0 < line <= _MOST_LINES:
        return None
    return SourceLine(file, line, _text(told, words.FUNCTION) or "")


def _phase_spans(trace: Trace) -> list[Span]:
    """In order; a phase is what has pieces below it, or, where it has no length, its name."""
    parents = {span.parent_id for span in trace.spans if span.name.startswith(words.CRITICAL_PREFIX)}
    known = (words.DISPATCH, words.CONNECT, words.WAIT, words.GREET)
    found = [
        span
        for span in trace.spans
        if span.parent_id == trace.root.span_id
        and words.CRITICAL not in span.attributes
        and (span.span_id in parents or span.name in known)
    ]
    return sorted(found, key=lambda span: (span.start_ns, span.end_ns, span.span_id))


def _stretch(span: Span, root: Span) -> Stretch:
    return Stretch(span.name, _since(root, span), span.duration_us)


def _tasks(trace: Trace) -> tuple[TracedTask, ...]:
    root = trace.root
    detached: set[str | None] = {
        s.span_id for s in trace.spans if s.name == words.DETACHED and s.parent_id == root.span_id
    }
    spans = [
        span
        for span in trace.spans
        if words.CRITICAL in span.attributes and (span.parent_id == root.span_id or span.parent_id in detached)
    ]
    names = {span.span_id: _task_name(span) for span in spans}
    left: dict[str, list[Span]] = {span.span_id: [] for span in spans}
    for span in trace.spans:
        if span.parent_id in left:
            left[span.parent_id].append(span)
    tasks = [_task(span, root, names, detached, left[span.span_id]) for span in spans]
    # of those that began in one microsecond, who held the loop from then on came last
    return tuple(sorted(tasks, key=lambda task: (task.start_us, _held_at_first_us(task), task.name, task.span_id)))


def _held_at_first_us(task: TracedTask) -> int:
    step = re.match(r"0\+(\d{1,15})(?!\d)", task.steps_told)
    return int(step[1]) if step else 0


def _task(
    span: Span, root: Span, names: Mapping[str, str], detached: Collection[str | None], inside: Iterable[Span]
) -> TracedTask:
    told = span.attributes
    needs = _names(told.get(words.NEEDS))
    waited_for = [names[link.span_id] for link in span.links if link.span_id in names]
    return TracedTask(
        name=_task_name(span),
        span_id=span.span_id,
        start_us=_since(root, span),
        duration_us=span.duration_us,
        needs=needs,
        order=tuple(name for name in waited_for if name not in needs),
        critical=_number(told, words.CRITICAL),
        slack=_number(told, words.SLACK),
        drag=_number(told, words.DRAG),
        contention=_number(told, words.CONTENTION),
        loop_time=_number(told, words.LOOP_TIME),
        ready_delay=_number(told, words.READY_DELAY),
        phase=_text(told, words.PHASE),
        cache=_text(told, words.CACHE),
        error_type=_text(told, words.ERROR_TYPE),
        deferred=told.get(words.DEFERRED) is True,
        detached=span.parent_id in detached,
        steps_told=_text(told, words.LOOP_HOLDS) or "",
        left_running=tuple(_left_running(span, root, inside)),
    )


def _left_running(span: Span, root: Span, inside: Iterable[Span]) -> Iterator[LeftRunning]:
    """Of several of one name the last."""
    left = {_inside_name(other): other for other in sorted(inside, key=lambda other: (other.end_ns, other.span_id))}
    for name, other in left.items():
        if other.end_ns > span.end_ns:
            yield LeftRunning(name, _since(root, other) + other.duration_us)


def _inside_name(span: Span) -> str:
    url = _text(span.attributes, "http.url") or _text(span.attributes, "url.full")
    try:
        return f"{span.name} {urlsplit(url).path}" if url else span.name
    except ValueError:
        return span.name


def _task_name(span: Span) -> str:
    deferred = span.attributes.get(words.DEFERRED) is True
    return span.name.removeprefix(words.DEFERRED_PREFIX) if deferred else span.name


def _since(root: Span, span: Span) -> int:
    return span.start_ns // 1000 - root.start_ns // 1000


def _text(told: Mapping[str, Value], key: str) -> str | None:
    value = told.get(key)
    return value if isinstance(value, str) else None


def _number(told: Mapping[str, Value], key: str) -> float | None:
    return plausible(told.get(key))


def _names(value: Value | None) -> tuple[str, ...]:
    """A list of names; Jaeger's classic JSON has it as text."""
    if isinstance(value, str):
        try:
            parsed: object = json.loads(value)
        except (ValueError, RecursionError):
            return ()
        value = tuple(cast("list[Value]", parsed)) if isinstance(parsed, list) else ()
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, tuple) else ()
