"""Starts written as the worker writes them, and traces as others do: what the tests of the readers read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from firstword.telemetry.export import Exporting, FileExporter
from firstword.telemetry.record import Start
from firstword.telemetry.spans import StartTrace
from firstword.tuning.notes import Given, Note, Used

T0 = 1_795_000_000_000_000_000
"""ns since the Unix epoch."""


def write(folder: Path, *starts: Start) -> list[str]:
    """Export the starts to OTLP JSON lines in `folder`, all through the worker's own exporter; their trace ids."""
    exporting = Exporting([FileExporter(folder)], resource=Resource({"service.name": "firstword"}))
    traces = [StartTrace(exporting) for _ in starts]
    for trace, start in zip(traces, starts, strict=True):
        trace.export(start, finished=True)
        exporting.flush(5.0)  # more than its queue holds would be dropped
    exporting.shutdown()
    return [f"{trace.context.trace_id:032x}" for trace in traces]


def otlp_span(name: str, span_id: int, parent: int | None, begin: int, end: int, **more: Any) -> dict[str, Any]:
    """One span as OTLP JSON has it; µs from T0."""
    span: dict[str, Any] = {
        "traceId": f"{1:032x}",
        "spanId": f"{span_id:016x}",
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(T0 + begin * 1000),
        "endTimeUnixNano": str(T0 + end * 1000),
        **more,
    }
    if parent is not None:
        span["parentSpanId"] = f"{parent:016x}"
    return span


def request(spans: Sequence[object], service: str = "shop") -> str:
    """An export request as one line of JSON."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}) + "\n"


def jaeger_span(name: str, span_id: str, parent: str | None, begin: int, duration: int) -> dict[str, Any]:
    """One span as Jaeger's page downloads it; µs from T0."""
    reference = {"refType": "CHILD_OF", "traceID": "abc1", "spanID": parent}
    return {
        "traceID": "abc1",
        "spanID": span_id,
        "operationName": name,
        "references": [] if parent is None else [reference],
        "startTime": T0 // 1000 + begin,
        "duration": duration,
        "tags": [],
        "logs": [],
        "processID": "p1",
    }


def jaeger_trace(*spans: dict[str, Any]) -> dict[str, Any]:
    """A trace as Jaeger has it."""
    return {"traceID": "abc1", "spans": list(spans), "processes": {"p1": {"serviceName": "shop", "tags": []}}}


def no_problem(note: Note) -> None:
    """For readings in which nothing may be wrong, or passed over."""
    if not isinstance(note, Used | Given):
        pytest.fail(str(note))
