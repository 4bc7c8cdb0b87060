"""Infers the likely critical path of a trace that isn't ours: nobody recorded who needed whom, so it is guessed from
times.

Beside `firstword.telemetry.critical_path`, for the readers in `tuning`. It is the rule of CRISP (Z. Zhang et al.,
"CRISP: Critical Path Analysis of Large-Scale Microservice Architectures", USENIX ATC 2022) and in the main that of
Jaeger's trace page (jaeger-ui, TracePage/CriticalPath, commit c321fb3). From the root's end it walks back, always into
the child that finished last before. It works in whole microseconds, as Jaeger does. Jaeger's page passes over a child
that ends in the very microsecond in which the next begins. Here the two are in sequence, as `await` after `await` is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter

from firstword.telemetry.critical_path import PathPiece, PieceKind


class NoRoot(ValueError):
    """Raised for a trace without a span to walk back from: it is empty, or each span's parent is another of its spans."""


@dataclass(frozen=True, slots=True)
class TimedSpan:
    """The fields of a span that the rule needs. Times are in microseconds since the Unix epoch."""

    span_id: str
    parent_id: str | None
    name: str
    kind: str
    """OpenTelemetry's kind in lower case. Only `producer` and `consumer` matter."""
    start_us: int
    end_us: int


def last_finishing_path(
    spans: Iterable[TimedSpan], root: str | None = None, *, as_jaeger: bool = False
) -> tuple[PathPiece, ...]:
    """Returns the critical path under one root, found by times alone: pieces in time order that cover it without gap or
    overlap.

    root: a span's id; by default `root_of(spans)`. The order of spans does not matter. A child is cut to its parent,
    and ignored if it lies outside. A consumer under a producer blocks nobody, and is ignored with all below it. A span
    that ends before it starts has no length. Of two spans with the same id the longer counts. as_jaeger: ignore a child
    that ends in the microsecond in which the next begins. Raises NoRoot if there is no root, and KeyError if there is
    no span `root`.
    """
    by_id = _by_id(spans)
    top = by_id[_root(by_id) if root is None else root]
    children = _children(by_id, top)
    pieces: list[PathPiece] = []

    def add(span: TimedSpan, begin: int, end: int) -> None:
        if begin == end:
            return
        if pieces and pieces[-1].task == span.span_id:
            pieces[-1] = replace(pieces[-1], start=begin * 1000)
        else:
            pieces.append(PathPiece(PieceKind.SPAN, span.span_id, begin * 1000, end * 1000))

    way = [top]
    reached = top.end_us
    # on the way down a child may end with its parent, on the way back with its sibling's start
    latest = reached
    while way:
        span = way[-1]
        remaining = children[span.span_id]
        while remaining and remaining[-1].end_us > latest:
            remaining.pop()
        if remaining:
            child = remaining.pop()
            add(span, child.end_us, reached)
            way.append(child)
            reached = latest = child.end_us
        else:
            add(span, span.start_us, reached)
            way.pop()
            reached = span.start_us
            latest = reached - as_jaeger
    return tuple(reversed(pieces))


def root_of(spans: Iterable[TimedSpan]) -> str:
    """Returns the id of the span to walk back from: the longest without a parent, else the longest whose parent is
    missing.

    On a tie it is the one that starts first, then the lower id. Raises NoRoot if there is none.
    """
    return _root(_by_id(spans))


def _root(by_id: dict[str, TimedSpan]) -> str:
    tops = [span for span in by_id.values() if not span.parent_id]
    tops = tops or [span for span in by_id.values() if span.parent_id not in by_id]
    if not tops:
        raise NoRoot("every span's parent is another span of the trace" if by_id else "the trace has no spans")
    return min(tops, key=lambda span: (span.start_us - span.end_us, span.start_us, span.span_id)).span_id


def _by_id(spans: Iterable[TimedSpan]) -> dict[str, TimedSpan]:
    found: dict[str, TimedSpan] = {}
    for span in spans:
        if span.end_us < span.start_us:
            span = replace(span, end_us=span.start_us)
        other = found.get(span.span_id)
        if other is None or _precedence(span) > _precedence(other):
            found[span.span_id] = span
    return found


def _precedence(span: TimedSpan) -> tuple[int, int, str, str, str]:
    return (span.end_us - span.start_us, -span.start_us, span.parent_id or "", span.name, span.kind)


def _children(by_id: dict[str, TimedSpan], top: TimedSpan) -> dict[str, list[TimedSpan]]:
    """By parent, cut to it, the last to finish at the end; only what lies below `top`: a circle of parents never does."""
    below: dict[str, list[TimedSpan]] = {span_id: [] for span_id in by_id}
    for span in by_id.values():
        if span.parent_id in below and span.span_id != top.span_id:
            below[span.parent_id].append(span)
    kept: dict[str, list[TimedSpan]] = {}
    pending = [top]
    while pending:
        parent = pending.pop()
        # of those that finish together Jaeger takes the first it shows: the one that, before it was cut, starts first
        shown_last = sorted(below[parent.span_id], key=lambda span: (-span.start_us, span.span_id))
        children = [cut for child in shown_last if (cut := _cut(child, parent)) is not None]
        children.sort(key=attrgetter("end_us"))
        kept[parent.span_id] = children
        pending.extend(children)
    return kept


def _cut(child: TimedSpan, parent: TimedSpan) -> TimedSpan | None:
    if parent.kind == "producer" and child.kind == "consumer":
        return None
    if child.start_us >= parent.end_us or (child.start_us < parent.start_us and child.end_us <= parent.start_us):
        return None
    if parent.start_us <= child.start_us and child.end_us <= parent.end_us:
        return child
    return replace(child, start_us=max(child.start_us, parent.start_us), end_us=min(child.end_us, parent.end_us))
