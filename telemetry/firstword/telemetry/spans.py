"""Makes spans of a start: live contexts while it runs, finished spans once the critical path is known.

Behind `firstword.telemetry.run`, before `firstword.telemetry.export`. While a task runs, its span is only a context, so
that what libraries trace in it becomes its child. The span that is exported is made at the first word, by
`firstword.telemetry.layout`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from firstword.telemetry.critical_path import Analysis, PathPiece, analyse
from firstword.telemetry.export import Exporting, enter
from firstword.telemetry.guard import guarded
from firstword.telemetry.layout import ROOT_KEY, SpanData, lay_out, task_key, unsettled, without_shortest_delay
from firstword.telemetry.record import Start
from firstword.telemetry.times import SLOW_S
from firstword.telemetry.vocabulary import EDGE, ROOT

Attributes = Mapping[str, str | bool | int | float]

SCOPE = InstrumentationScope("firstword.telemetry")

_KINDS = {
    "server": SpanKind.SERVER,
    "internal": SpanKind.INTERNAL,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}

MOST_SPANS_IN_ORDER = 64
MOST_SPANS = 40
"""Most spans of one start, those of libraries included. A start in declared order has a piece for each task, so it may
have more.
"""


def most_spans(start: Start) -> int:
    """Returns how many spans the start may have: `MOST_SPANS_IN_ORDER` if its tasks ran in declared order, else
    `MOST_SPANS`.
    """
    return MOST_SPANS_IN_ORDER if any(task.order for task in start.tasks) else MOST_SPANS


class StartTrace:
    """The spans of one start. Nothing of it is exported before `export()` is called the first time.

    An error in a method is logged and not raised (`firstword.telemetry.guard`), so that it never costs the call.

    links: span contexts of other traces with the kind of edge (`startup.edge`): LiveKit's job, the caller's own trace.
    slow: seconds of TTFW above which the root is marked `startup.slow`.
    """

    def __init__(
        self, exporting: Exporting, *, links: Sequence[tuple[SpanContext, str]] = (), slow: float = SLOW_S
    ) -> None:
        self._exporting = exporting
        self._tracer = exporting.provider.get_tracer(SCOPE.name)
        self._slow = slow
        self._links = tuple(Link(context, {EDGE: edge}) for context, edge in links if context.is_valid)
        # an empty context: the start is a trace of its own, whatever span is current here
        root = self._tracer.start_span(ROOT, context=Context(), kind=SpanKind.SERVER)
        self._live: dict[str, otel.Span] = {ROOT_KEY: root}
        self._root_context = otel.set_span_in_context(root, Context())
        self._contexts: dict[str, SpanContext] = {ROOT_KEY: root.get_span_context()}
        self._exported: set[str] = set()
        self._explained = 0
        self._pieces: tuple[PathPiece, ...] | None = None
        exporting.open(self.context.trace_id, otel_context.get_current())

    @property
    def context(self) -> SpanContext:
        """Returns the root's span context, for links from other traces and for logs."""
        return self._contexts[ROOT_KEY]

    @guarded
    def link(self, context: SpanContext, edge: str) -> None:
        """Links the root to another trace. It has an effect only before the first export."""
        if context.is_valid:
            self._links = (*self._links, Link(context, {EDGE: edge}))

    @guarded
    def enter_task(self, task: str) -> None:
        """Makes the task's span the current one in this context, and the parent of what libraries trace in it."""
        key = task_key(task)
        span = self._live[key] = self._tracer.start_span(task, context=self._root_context)
        self._contexts[key] = span.get_span_context()
        enter(span)

    @guarded
    def event(self, name: str, instant: int, attributes: Attributes) -> None:
        """Adds an event to the root span at `instant` (ns since the epoch)."""
        self._live[ROOT_KEY].add_event(name, dict(attributes), timestamp=instant)

    @guarded
    def task_event(self, task: str, name: str, instant: int, attributes: Attributes) -> None:
        """Adds an event to a task's span at `instant` (ns since the epoch)."""
        self._live[task_key(task)].add_event(name, dict(attributes), timestamp=instant)

    @guarded
    def export(self, start: Start, *, to_come: int = 0, finished: bool) -> None:
        """Exports every span that will not change and has not been exported yet. With `finished`, none changes any
        more.

        to_come: how many spans of ours will follow, for which room is kept.
        """
        trace_id = self.context.trace_id
        libraries = self._exporting.take(trace_id)
        if finished:
            self._exporting.close(trace_id)
        if self._live[ROOT_KEY].is_recording():
            most = most_spans(start) - to_come
            analysis = self._within(most, start, analyse(start))
            later = frozenset[str]() if finished else unsettled(start)
            laid_out = lay_out(start, analysis, slow=self._slow)
            settled = [data for data in laid_out if data.key not in self._exported and data.key not in later]
            self._exported.update(data.key for data in settled)
            critical = {piece.task for piece in analysis.pieces if piece.task is not None}
            room = most - len(laid_out) - self._explained
            explaining = self._explaining(libraries, critical)[: max(room, 0)]
            self._explained += len(explaining)
            self._emit(settled, explaining)

    @guarded
    def export_observed(self, spans: Sequence[SpanData]) -> None:
        """Exports all spans of an observed start at once."""
        self._exporting.close(self.context.trace_id)
        if self._live[ROOT_KEY].is_recording():
            self._emit(spans)

    def _emit(self, laid_out: Sequence[SpanData], explaining: Sequence[ReadableSpan] = ()) -> None:
        """Emit the root last: an exporter's thread may cut a batch anywhere, and who finds the root finds its path."""
        spans = (*map(self._span, laid_out), *explaining)
        for span in sorted(spans, key=lambda span: span.context == self.context):
            self._exporting.emit(span)

    def _within(self, most: int, start: Start, analysis: Analysis) -> Analysis:
        """With so few pieces of the event loop's delay that the start has no more spans than it may, if that can be.

        Decided once: what was exported stays true.
        """
        pieces = analysis.pieces if self._pieces is None else self._pieces
        while self._pieces is None and len(lay_out(start, replace(analysis, pieces=pieces))) > most:
            fewer = without_shortest_delay(pieces)
            if fewer == pieces:
                break
            pieces = fewer
        self._pieces = pieces
        return replace(analysis, pieces=pieces)

    def _explaining(self, spans: Sequence[ReadableSpan], critical: Collection[str]) -> list[ReadableSpan]:
        """What libraries traced, what explains most first: inside of critical tasks, the longest, a parent before its children."""
        tasks = {self._contexts[task_key(task)].span_id for task in critical if task_key(task) in self._contexts}
        parents = {span.context.span_id: span.parent for span in spans if span.context is not None}

        def in_critical_task(span: ReadableSpan) -> bool:
            parent = span.parent
            while parent is not None and parent.span_id not in tasks:
                parent = parents.get(parent.span_id)
            return parent is not None

        return sorted(spans, key=lambda s: (not in_critical_task(s), (s.start_time or 0) - (s.end_time or 0)))

    def _context_of(self, key: str) -> SpanContext:
        if key not in self._contexts:
            root = self.context
            self._contexts[key] = SpanContext(
                trace_id=root.trace_id,
                span_id=self._exporting.provider.id_generator.generate_span_id(),
                is_remote=False,
                trace_flags=root.trace_flags,
                trace_state=root.trace_state,
            )
        return self._contexts[key]

    def _span(self, data: SpanData) -> ReadableSpan:
        links = [Link(self._context_of(key), {EDGE: edge}) for key, edge in data.links]
        attributes: dict[str, str | bool | int | float | Sequence[str]] = {}
        events: Sequence[Event] = ()
        live = self._live.get(data.key)
        if isinstance(live, ReadableSpan):
            # what the task itself wrote on its current span
            attributes.update(live.attributes or {})  # type: ignore[arg-type]
            events = live.events
        if data.key == ROOT_KEY:
            links.extend(self._links)
        attributes.update(data.attributes)
        return ReadableSpan(
            name=data.name,
            context=self._context_of(data.key),
            parent=None if data.parent_key is None else self._context_of(data.parent_key),
            resource=self._exporting.provider.resource,
            attributes=attributes,
            events=events,
            links=links,
            kind=_KINDS[data.kind],
            status=Status(StatusCode.ERROR) if data.error else Status(StatusCode.UNSET),
            start_time=data.start_us * 1000,
            end_time=data.end_us * 1000,
            instrumentation_scope=SCOPE,
        )
