"""Traces and spans as plain data, whatever format they were read from.

The bottom of the package: the readers make it, `firstword.tuning.start` makes a start of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from firstword.telemetry import inferred_path
from firstword.telemetry.vocabulary import DECLARED, OUTCOME, ROOT
from firstword.tuning.json_shape import TRACE_ID_DIGITS, same_trace

_MOST = 1e10
"""Seconds in three centuries: more than any clock of a trace can tell."""

Value: TypeAlias = "str | bool | int | float | tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class Link:
    """A link to another span, of this trace or of another. Jaeger's classic JSON keeps no attributes of links."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Ids are in lower-case hex with all their digits; instants in ns since the Unix epoch, whole microseconds."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    """`internal`, `server`, `client`, `producer`, `consumer`; empty where the span does not say it."""
    start_ns: int
    end_ns: int
    """Never before `start_ns`."""
    attributes: Mapping[str, Value]
    resource: Mapping[str, Value] = field(default_factory=dict[str, Value])
    """Attributes of the process that wrote the span."""
    links: tuple[Link, ...] = ()
    error: bool = False
    follows: bool = False
    """Whether it is Jaeger's FOLLOWS_FROM: the parent did not wait for it."""

    @property
    def service(self) -> str | None:
        """Returns the name of the service that wrote the span; None where the span has none."""
        name = self.resource.get("service.name")
        return name if isinstance(name, str) else None

    @property
    def duration_us(self) -> int:
        """Returns the duration in whole microseconds, as Jaeger has it."""
        return (self.end_ns - self.start_ns) // 1000


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace: all its spans that were read, and its root."""

    trace_id: str
    spans: tuple[Span, ...]
    """Each id once; of two spans with the same id the longer counts."""
    root: Span

    def has_id(self, trace_id: str) -> bool:
        """Returns whether the trace has this id: by number, and by the low 64 bits where either side has only these."""
        return same_trace(self.trace_id, trace_id.lower().zfill(TRACE_ID_DIGITS))

    @property
    def is_start(self) -> bool:
        """Returns whether it is a start-up as `telemetry` writes it."""
        return _is_ours(self.root)

    @property
    def is_second(self) -> bool:
        """Returns whether it is an observed start of which there is a declared one too: the same session, measured twice."""
        return self.is_start and DECLARED in self.root.attributes


def plausible(value: object) -> float | None:
    """Returns a number that a start's attribute may have, in seconds or per cent; None for anything else, and beyond all bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
        return None
    return float(value)


def trace_of(spans: Iterable[Span]) -> Trace:
    """Makes a trace of spans that have one trace id, in any order.

    Its root is our `session.startup`, of several the longest; else the span that `firstword.telemetry.inferred_path`
    walks back from. Raises NoRoot where each span's parent is another of the spans.
    """
    by_id: dict[str, Span] = {}
    for span in spans:
        other = by_id.get(span.span_id)
        if other is None or _precedence(span) > _precedence(other):
            by_id[span.span_id] = span
    known = tuple(by_id.values())
    ours = [span for span in known if _is_ours(span)]
    if ours:
        root = min(ours, key=lambda span: (span.start_ns - span.end_ns, span.start_ns, span.span_id))
    else:
        root = by_id[inferred_path.root_of(without_needs(span) for span in known)]
    return Trace(root.trace_id, known, root)


def without_needs(span: Span) -> inferred_path.TimedSpan:
    """Returns the span as `firstword.telemetry.inferred_path` takes it, in Jaeger's microseconds."""
    start_us = span.start_ns // 1000
    return inferred_path.TimedSpan(
        span.span_id, span.parent_id, span.name, span.kind, start_us, start_us + span.duration_us
    )


def _precedence(span: Span) -> tuple[int, int, str, str, int]:
    """Of two spans with one id: the longer, then the one that began first; the rest only makes an order of it."""
    return (span.end_ns - span.start_ns, -span.start_ns, span.parent_id or "", span.name, len(span.attributes))


def _is_ours(span: Span) -> bool:
    return span.name == ROOT and OUTCOME in span.attributes
