"""Exports spans: holds them until the first word, redacts them, then sends them in batches to OTLP and, if asked, to
files.

The end of the way of the data inside the worker. Nothing here waits for a collector: export is on a thread, queues are
bounded, and what is dropped is counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from google.protobuf.json_format import MessageToDict
from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator

from firstword.telemetry import otlp
from firstword.telemetry.redaction import redacted, redacted_resource

logger = logging.getLogger("firstword")

MOST_HELD_SPANS = 2_000
"""Most spans that are held for one start. Further ones are dropped and counted."""
MOST_WAITING = 2_048
"""Most spans that wait for one exporter, as many as the SDK's queue has by default. Further ones are dropped and
counted.
"""
MOST_STARTS = 4_096
"""Most starts that a process remembers. One more, and the oldest is forgotten."""

_task: ContextVar[otel.Span | None] = ContextVar("telemetry_task_span", default=None)


def enter(task: otel.Span) -> None:
    """Makes this span the parent of spans that libraries start from here on, in this context and in copies of it."""
    _task.set(task)
    otel_context.attach(otel.set_span_in_context(task))


class Exporting:
    """The tracer provider of a process, with its exporters. It holds back the spans of starts until they are exported.

    A process makes one, after it was forked.
    """

    def __init__(
        self,
        exporters: Sequence[SpanExporter],
        *,
        resource: Resource | None = None,
        ids: IdGenerator | None = None,
        redact: bool = True,
    ) -> None:
        """redact: whether what is private is removed before export (`firstword.telemetry.redaction`)."""
        self._batches = [_Batch(exporter) for exporter in exporters]
        self._starts = _Starts(self._batches, redact=redact)
        resource = resource or Resource.create()
        self.provider = TracerProvider(
            resource=redacted_resource(resource) if redact else resource, shutdown_on_exit=False, id_generator=ids
        )
        self.provider.add_span_processor(self._starts)
        self._told = 0

    def newly_dropped(self, *, last: bool = False) -> int:
        """Returns how many spans were lost since the last call: too many were held or waited, or an exporter failed.

        last: count spans that still wait as lost, too.
        """
        dropped = self._starts.dropped + sum(batch.lost(last=last) for batch in self._batches)
        new, self._told = dropped - self._told, dropped
        return new

    @property
    def outside(self) -> otel.TracerProvider:
        """Returns a tracer provider for spans that outlive a start, such as LiveKit's.

        Spans that are started inside a start become children of the context around the start.
        """
        return _Placing(self.provider, self._around)

    @property
    def inside(self) -> otel.TracerProvider:
        """Returns a tracer provider for libraries, whose spans explain a task. While a start goes on, each becomes a
        child of the task it works for.

        That also holds if LiveKit's span is the current one. After the start, the current span is the parent.
        """
        return _Placing(self.provider, self._in_task)

    def _around(self, context: Context | None) -> Context | None:
        current = otel.get_current_span(context).get_span_context()
        around = self._starts.around(current.trace_id)
        return context if around is None else around

    def _in_task(self, context: Context | None) -> Context | None:
        task = _task.get()
        if task is None:
            return context
        trace_id = task.get_span_context().trace_id
        current = otel.get_current_span(context).get_span_context()
        if current.trace_id == trace_id or not self._starts.goes_on(trace_id):
            return context
        return otel.set_span_in_context(task, context)

    def open(self, trace_id: int, around: Context) -> None:
        """Begins to hold the spans of this trace, as those of a start. `around` is the context in which the start was
        begun.
        """
        self._starts.open(trace_id, around)

    def take(self, trace_id: int) -> list[ReadableSpan]:
        """Removes and returns the spans that libraries have finished in this trace since the last call. The start
        decides which it exports.
        """
        return self._starts.take(trace_id)

    def close(self, trace_id: int) -> None:
        """Ends the start of this trace. From now on, what libraries trace in its tasks' contexts is dropped."""
        self._starts.close(trace_id)

    def emit(self, span: ReadableSpan) -> None:
        """Redacts a finished span, if that is on, and queues it for the exporters."""
        self._starts.pass_on(span)

    def flush(self, timeout: float) -> bool:
        """Exports the queued spans; those that are held stay. Returns False if `timeout` seconds were not enough."""
        return all(batch.force_flush(int(timeout * 1000)) for batch in self._batches)

    def shutdown(self) -> None:
        """Exports all spans, held ones too, and ends the export threads. Later spans are lost."""
        self.provider.shutdown()
        if lost := sum(batch.lost(last=True) for batch in self._batches):
            logger.warning("%d spans could not be exported", lost)

    async def shutdown_soon(self) -> None:
        """Runs `shutdown` on a thread and waits for it. For LiveKit's shutdown callbacks."""
        await asyncio.to_thread(self.shutdown)


class _Counted(SpanExporter):
    """An exporter that counts what it has exported and what it could not: the SDK only logs failures."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.exported = self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self.exported += len(spans)
            else:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _Batch(BatchSpanProcessor):
    """Exports in batches on a thread, and knows how many spans it was given and has exported."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._counted = _Counted(exporter)
        super().__init__(self._counted)
        self._given = self._refused = 0
        self._lock = threading.Lock()

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            waiting = self._given - self._counted.exported - self._counted.failed
            if waiting >= MOST_WAITING:
                self._refused += 1
                return
            self._given += 1
        super().on_end(span)

    def lost(self, *, last: bool) -> int:
        """Spans that were not exported and won't be; `last`: those that still wait won't be either."""
        return self._refused + (self._given - self._counted.exported if last else self._counted.failed)


@dataclass
class _StartSpans:
    """What is known of one start: the context around it, and what libraries traced in it."""

    around: Context
    held: list[ReadableSpan] = field(default_factory=list[ReadableSpan])
    over: bool = False


class _Starts(SpanProcessor):
    """Keeps back what is traced inside of starts, hands everything else to the batches."""

    def __init__(self, batches: Sequence[_Batch], *, redact: bool) -> None:
        self._batches = batches
        self._redact = redact
        self._starts: OrderedDict[int, _StartSpans] = OrderedDict()
        self._lock = threading.Lock()
        self.dropped = 0

    def open(self, trace_id: int, around: Context) -> None:
        with self._lock:
            self._starts[trace_id] = _StartSpans(around)
            if len(self._starts) > MOST_STARTS:
                self.dropped += len(self._starts.popitem(last=False)[1].held)

    def take(self, trace_id: int) -> list[ReadableSpan]:
        with self._lock:
            start = self._starts.get(trace_id)
            if start is None:
                return []
            spans, start.held = start.held, []
            return spans

    def close(self, trace_id: int) -> None:
        with self._lock:
            if (start := self._starts.get(trace_id)) is not None:
                start.over = True

    def around(self, trace_id: int) -> Context | None:
        start = self._starts.get(trace_id)
        return None if start is None else start.around

    def goes_on(self, trace_id: int) -> bool:
        start = self._starts.get(trace_id)
        return start is not None and not start.over

    def pass_on(self, span: ReadableSpan) -> None:
        clean = redacted(span) if self._redact else span
        for batch in self._batches:
            batch.on_end(clean)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do when a span begins."""

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        with self._lock:
            start = None if context is None else self._starts.get(context.trace_id)
            if start is not None:
                if len(start.held) >= MOST_HELD_SPANS:
                    self.dropped += 1
                elif not start.over:  # what comes then explains nothing of the start: it is not missed
                    start.held.append(span)
                return
        self.pass_on(span)

    def shutdown(self) -> None:
        for start in self._starts.values():
            for span in start.held:
                self.pass_on(span)
        self._starts.clear()
        for batch in self._batches:
            batch.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return all(batch.force_flush(timeout_millis) for batch in self._batches)


class _Placing(otel.TracerProvider):
    """Tracers whose spans get their parent from `place`: given the context they would have had, the one they have."""

    def __init__(self, provider: TracerProvider, place: Callable[[Context | None], Context | None]) -> None:
        self._provider = provider
        self._place = place

    def get_tracer(self, *arguments: Any, **options: Any) -> otel.Tracer:
        return _PlacingTracer(self._provider.get_tracer(*arguments, **options), self._place)


class _PlacingTracer(otel.Tracer):
    def __init__(self, tracer: otel.Tracer, place: Callable[[Context | None], Context | None]) -> None:
        self._tracer = tracer
        self._place = place

    def start_span(self, name: str, context: Context | None = None, *arguments: Any, **options: Any) -> otel.Span:
        return self._tracer.start_span(name, self._place(context), *arguments, **options)

    def start_as_current_span(self, name: str, context: Context | None = None, *arguments: Any, **options: Any) -> Any:
        return self._tracer.start_as_current_span(name, self._place(context), *arguments, **options)


class FileExporter(SpanExporter):
    """A span exporter that writes OTLP JSON lines to a file, one export request a line, if there is no collector.

    Each process appends to a file of its own in `folder`, so that no two write the same line.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # containers that share a volume have the same process ids
        self.path = folder / f"traces-{os.getpid()}-{uuid4().hex[:8]}.jsonl"

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Appends the spans as one line. Returns FAILURE if the file can't be written."""
        line = json.dumps(_otlp_json(spans), separators=(",", ":"))
        try:
            with open(self.path, "a", encoding="utf-8", opener=_for_this_user) as file:
                file.write(line + "\n")
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Does nothing, as no file is kept open."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Does nothing and returns True, as each line is written at once."""
        return True


def _for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _otlp_json(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """OTLP's JSON form: ids in hex and enums as numbers, where protobuf's own JSON has base64 and names."""
    message = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    for resource_spans in message.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                for item in (span, *span.get("links", ())):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in item:
                            item[key] = b64decode(item[key]).hex()
    return message


def exporters_from_environment(
    environ: Mapping[str, str] | None = None, *, folder: Path | None = None, warn: bool = True
) -> list[SpanExporter]:
    """Returns the span exporters that the standard `OTEL_*` variables ask for, and one for files if `folder` is given.

    OTLP over gRPC, or HTTP with `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`, if an endpoint is named; none with
    `OTEL_TRACES_EXPORTER=none` or `OTEL_SDK_DISABLED=true`. warn: log what can't be done. If many processes are alike,
    only the first should.
    """
    exporters: list[SpanExporter] = []
    if folder is not None:
        exporters.append(FileExporter(folder))
    route = otlp.route("TRACES", os.environ if environ is None else environ)
    faults = list(route.faults)
    if route.protocol is not None:
        try:
            exporters.append(otlp_exporter(route.protocol))
        except Exception as error:  # whatever an exporter makes of a wrong variable; no caller pays for it
            faults.append(
                f"no spans are sent to {route.place}: {type(error).__name__}: {otlp.without_password(str(error))}"
            )
    for fault in faults if warn else ():
        logger.warning("%s", fault)
    return exporters


def otlp_exporter(protocol: otlp.Protocol) -> SpanExporter:
    """Returns the SDK's OTLP exporter of spans, which reads its variables itself. Raises what it raises for a wrong
    one.
    """
    # imported here: only one of the two is needed, and gRPC costs a tenth of a second
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        return OverHttp()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

    return OverGrpc()
