"""Turns OTLP's JSON into spans, in whatever it is wrapped: requests, the collector's lines, Tempo's and Jaeger's
answers, bare spans.

One of the two formats behind `firstword.tuning.documents`. Ids may be hex, as OTLP says, or base64, as protobuf's own
JSON has them. Keys may be in camel case or as protobuf names them, and enums numbers or names. Instants are cut to
whole microseconds, as Jaeger keeps them: so a trace is the same, whichever way it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from firstword.tuning.json_shape import (
    SPAN_ID_DIGITS,
    TRACE_ID_DIGITS,
    Malformed,
    Object,
    as_list,
    as_object,
    double,
    has,
    identifier,
    instant,
    integer,
    member,
    objects,
    text,
)
from firstword.tuning.spans import Link, Span, Value
from firstword.tuning.tally import Tally

REQUEST = ("resourceSpans", "batches")
"""Keys of a list of resources: in OTLP, and in Tempo's first API."""
RESOURCE = ("scopeSpans", "instrumentationLibrarySpans")
"""Keys of a list of scopes: in OTLP, and before its version 0.9."""
_KINDS = ("", "internal", "server", "client", "producer", "consumer")
_ERROR = (2, "2", "STATUS_CODE_ERROR")


def spans_of_request(request: Object, tally: Tally) -> Iterator[Span]:
    """Yields the spans in an OTLP export request, under any of the names in `REQUEST`."""
    for key in REQUEST:
        for resource_spans in objects(request, key, tally.loss):
            yield from spans_of_resource(resource_spans, tally)


def spans_of_resource(resource_spans: Object, tally: Tally) -> Iterator[Span]:
    """Yields the spans of one resource: an item of `resourceSpans`."""
    resource: dict[str, Value] = {}
    try:
        resource = _attributes(as_object(resource_spans.get("resource")), tally)
    except Malformed:
        tally.value_left_out()
    for key in RESOURCE:
        for scope_spans in objects(resource_spans, key, tally.loss):
            yield from spans_of_scope(scope_spans, tally, resource)


def spans_of_scope(scope_spans: Object, tally: Tally, resource: Mapping[str, Value] | None = None) -> Iterator[Span]:
    """Yields the spans of one scope: an item of `scopeSpans`."""
    for span in objects(scope_spans, "spans", tally.loss):
        yield from span_of(span, tally, resource or {})


def span_of(span: Object, tally: Tally, resource: Mapping[str, Value] | None = None) -> Iterator[Span]:
    """Yields the span; nothing where it has no id or no time, which `tally` hears of."""
    try:
        found = _span(span, resource or {}, tally)
    except Malformed as error:
        tally.loss(f"span {member(span, 'name')!r:.60}: {error}")
    else:
        tally.span()
        yield found


def _span(span: Object, resource: Mapping[str, Value], tally: Tally) -> Span:
    trace_id = identifier(span, "traceId", TRACE_ID_DIGITS, base64=True)
    span_id = identifier(span, "spanId", SPAN_ID_DIGITS, base64=True)
    start = instant(span, "startTimeUnixNano")
    if not trace_id or not span_id or start is None or start < 0:
        missing = "traceId" if not trace_id else "spanId" if not span_id else "startTimeUnixNano"
        raise Malformed(f"it has no `{missing}`")
    end = max(instant(span, "endTimeUnixNano") or 0, start)
    begin = start - start % 1000
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=identifier(span, "parentSpanId", SPAN_ID_DIGITS, base64=True) or None,
        name=_name(span, tally),
        kind=_kind(span.get("kind")),
        start_ns=begin,
        end_ns=begin + (end - start) // 1000 * 1000,
        attributes=_attributes(span, tally),
        resource=resource,
        links=_links(span, tally),
        error=_failed(span, tally),
    )


def _name(span: Object, tally: Tally) -> str:
    try:
        return text(span, "name")
    except Malformed:
        tally.value_left_out()
        return ""


def _failed(span: Object, tally: Tally) -> bool:
    try:
        return as_object(span.get("status")).get("code") in _ERROR
    except Malformed:
        tally.value_left_out()
        return False


def _links(span: Object, tally: Tally) -> tuple[Link, ...]:
    if span.get("links") is None:
        return ()
    found: list[Link] = []
    for link in objects(span, "links", lambda _: tally.value_left_out()):
        try:
            trace_id = identifier(link, "traceId", TRACE_ID_DIGITS, base64=True)
            found.append(Link(trace_id, identifier(link, "spanId", SPAN_ID_DIGITS, base64=True)))
        except Malformed:
            tally.value_left_out()
    return tuple(found)


def _kind(kind: object) -> str:
    if isinstance(kind, int):
        return _KINDS[kind] if 0 <= kind < len(_KINDS) else ""
    name = str(kind).removeprefix("SPAN_KIND_").lower()
    return name if name in _KINDS else ""


def _attributes(owner: Object, tally: Tally) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for attribute in objects(owner, "attributes", lambda _: tally.value_left_out()):
        try:
            value = _value(as_object(attribute.get("value")))
            if value is not None:
                found[text(attribute, "key")] = value
        except Malformed:
            tally.value_left_out()
    return found


def _value(value: Object) -> Value | None:
    """A value without its wrapping; None for those that a start never has: bytes, maps, lists of lists. Raises Malformed."""
    for kind, content in value.items():
        match kind:
            case "stringValue" | "string_value" if isinstance(content, str):
                return content
            case "boolValue" | "bool_value" if isinstance(content, bool):
                return content
            case "intValue" | "int_value":
                return _kept(integer(content), kind)
            case "doubleValue" | "double_value":
                return _kept(double(content), kind)
            case "arrayValue" | "array_value":
                items = [as_object(item) for item in as_list(as_object(content).get("values"))]
                values = [_value(item) for item in items if not has(item, "arrayValue")]
                return tuple(item for item in values if item is not None)
            case "stringValue" | "string_value" | "boolValue" | "bool_value":
                raise Malformed(f"`{kind}` is {content!r:.60}")
            case _:
                pass
    return None


def _kept(value: float | None, kind: str) -> int | float:
    if value is None:
        raise Malformed(f"`{kind}` can't be kept")
    return value
