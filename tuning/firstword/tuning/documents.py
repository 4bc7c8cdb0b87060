"""Turns JSON documents into spans: OTLP's, Tempo's or Jaeger's, told apart by what is in them.

Between files and answers (`firstword.tuning.files`, `firstword.tuning.jaeger`) and the two formats. What can't be read
is reported with its line, and the rest is still used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, cast

from firstword.tuning import otlp
from firstword.tuning.error_answer import words_of_error
from firstword.tuning.jaeger_json import spans_of_trace
from firstword.tuning.json_documents import documents
from firstword.tuning.json_shape import Malformed, Object, as_object, has, objects
from firstword.tuning.notes import Report
from firstword.tuning.plain_file import BROKEN, plain, reason
from firstword.tuning.spans import Span
from firstword.tuning.tally import EXPECTED, Tally

_SIGNALS = {"resourceMetrics": "metrics", "resourceLogs": "logs", "resourceProfiles": "profiles"}
_NOT_READ = {
    ("name", "context", "start_time"): (
        "what OpenTelemetry's ConsoleSpanExporter of Python prints",
        "OTLP JSON: send with an OTLP exporter to a collector, whose file exporter writes it",
    ),
    ("traceId", "id"): ("Zipkin's JSON", "OTLP JSON, or Jaeger's"),
    ("traces",): (
        "a list of traces that Tempo found, without their spans",
        "a trace: ask /api/traces/ID for each id in it",
    ),
}
"""Keys by which a document is known that has no spans we can read: what it is, and what to do."""


def spans_in(
    file: IO[bytes],
    where: str,
    report: Report,
    *,
    trace_id: str | None = None,
    asked_for: bool = True,
    may_be_empty: bool = False,
) -> Iterator[Span]:
    """Yields the spans in an open, seekable file. Where none of it can be used, reports one problem for the whole file.

    where: what notes call the file. trace_id: only this trace is wanted, and lines without it are passed over.
    asked_for: the file was named, so that one of another kind is a problem. may_be_empty: a file without spans is no
    problem.
    """
    tally = Tally(where, report, asked_for=asked_for, may_be_empty=may_be_empty)
    try:
        with plain(file) as content:
            for document in documents(content, tally, trace_id):
                yield from spans_of(document, tally)
    except BROKEN as error:
        tally.broke_off(reason(error), "a file that can be read to its end")
    tally.finish()


def spans_of(document: object, tally: Tally) -> Iterator[Span]:
    """Yields the spans in a parsed JSON document of any known format, or in a list of such documents."""
    if isinstance(document, list):
        for item in cast("list[object]", document):
            yield from _spans_of_object(item, tally)
    else:
        yield from _spans_of_object(document, tally)


def _spans_of_object(document: object, tally: Tally) -> Iterator[Span]:
    try:
        content = _unwrapped(as_object(document), tally)
    except Malformed as error:
        tally.strange(str(error))
        return
    for key, signal in _SIGNALS.items():
        if has(content, key):
            tally.signal(signal)
    if any(has(content, key) for key in otlp.REQUEST):
        yield from otlp.spans_of_request(content, tally)
    elif any(has(content, key) for key in otlp.RESOURCE):
        yield from otlp.spans_of_resource(content, tally)
    elif has(content, "traceId") and has(content, "spanId"):
        yield from otlp.span_of(content, tally)
    elif "traceID" in content and ("spans" in content or "spanID" in content):
        yield from spans_of_trace(content, tally)
    elif "spans" in content:
        yield from _spans_of_either(content, tally)
    elif content.get("data"):
        for trace in objects(content, "data", tally.loss):
            yield from spans_of_trace(trace, tally)
    elif _tells_of_error(content) and (says := words_of_error(content)):
        tally.strange(f"an error's answer: {says}", "an answer with a trace")
    elif "data" not in content and not any(has(content, key) for key in _SIGNALS):
        tally.strange(*_unknown(content))


def _unwrapped(content: Object, tally: Tally) -> Object:
    """What Jaeger's API v3 wraps in a result, and Tempo's v2 in a trace. Raises Malformed."""
    if "result" in content:
        content = as_object(content["result"])
    if "trace" in content:
        if content.get("status") not in (None, "COMPLETE", 0):
            tally.warning(f"the trace is not complete: {content.get('message') or content['status']}")
        content = as_object(content["trace"])
    return content


def _spans_of_either(content: Object, tally: Tally) -> Iterator[Span]:
    """A list of spans by itself: of a scope, or of Jaeger."""
    if any("spanID" in span for span in objects(content, "spans", lambda _: None)):
        yield from spans_of_trace(content, tally)
    else:
        yield from otlp.spans_of_scope(content, tally)


def _tells_of_error(content: Object) -> bool:
    return bool(content.keys() & {"errors", "error"}) or {"code", "message"} <= content.keys()


def _unknown(content: Object) -> tuple[str, str]:
    """What the document is, and what was expected."""
    for keys, (what, expected) in _NOT_READ.items():
        if all(key in content for key in keys):
            return what, expected
    if not content:
        return "an empty object", EXPECTED
    return f"an object with {', '.join(f'`{key}`' for key in list(content)[:3])}", EXPECTED
