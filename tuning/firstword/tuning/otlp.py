"""OTLP's JSON becomes spans: an export request, a line of the collector's file exporter, an answer of Jaeger's API v3.

One of the two formats behind `firstword.tuning.documents`. Ids may be hex, as OTLP says, or base64, as protobuf's own JSON has
them; enums numbers or names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from firstword.tuning.json_shape import Malformed, Object, as_list, as_object, identifier, instant, objects, text
from firstword.tuning.spans import Link, Span, Value

_KINDS = ("", "internal", "server", "client", "producer", "consumer")
_ERROR = (2, "STATUS_CODE_ERROR")


def spans_of_request(request: Object, report: Callable[[str], None]) -> Iterator[Span]:
    """The spans in an export request; `report` hears what is wrong with those left out."""
    for resource_spans in objects(request, "resourceSpans", report):
        resource: dict[str, Value] = {}
        try:
            resource = _attributes(as_object(resource_spans.get("resource")))
        except Malformed as error:
            report(f"resource: {error}")
        for scope_spans in objects(resource_spans, "scopeSpans", report):
            for span in objects(scope_spans, "spans", report):
                try:
                    yield _span(span, resource)
                except Malformed as error:
                    report(f"span {span.get('name')!r:.60}: {error}")


def _span(span: Object, resource: Mapping[str, Value]) -> Span:
    trace_id, span_id = identifier(span, "traceId"), identifier(span, "spanId")
    start = instant(span, "startTimeUnixNano")
    if not trace_id or not span_id or not start:
        missing = "traceId" if not trace_id else "spanId" if not span_id else "startTimeUnixNano"
        raise Malformed(f"it has no `{missing}`")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=identifier(span, "parentSpanId") or None,
        name=text(span, "name"),
        kind=_kind(span.get("kind")),
        start_ns=start,
        end_ns=max(instant(span, "endTimeUnixNano") or 0, start),
        attributes=_attributes(span),
        resource=resource,
        links=tuple(_link(as_object(link)) for link in as_list(span.get("links"))),
        error=as_object(span.get("status")).get("code") in _ERROR,
    )


def _link(link: Object) -> Link:
    return Link(identifier(link, "traceId"), identifier(link, "spanId"))


def _kind(kind: object) -> str:
    if isinstance(kind, int):
        return _KINDS[kind] if 0 <= kind < len(_KINDS) else ""
    name = str(kind).removeprefix("SPAN_KIND_").lower()
    return name if name in _KINDS else ""


def _attributes(owner: Object) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for item in as_list(owner.get("attributes")):
        attribute = as_object(item)
        value = _value(as_object(attribute.get("value")))
        if value is not None:
            found[text(attribute, "key")] = value
    return found


def _value(value: Object) -> Value | None:
    """A value without its wrapping; None for those that a start never has: bytes, maps, lists of lists."""
    for kind, content in value.items():
        if kind == "intValue":
            return instant(value, kind)
        if kind == "doubleValue":
            try:
                return float(content)
            except (TypeError, ValueError):
                raise Malformed(f"`{kind}` is {content!r:.60}") from None
        if kind in ("stringValue", "boolValue") and isinstance(content, str | bool):
            return content
        if kind == "arrayValue":
            items = [as_object(item) for item in as_list(as_object(content).get("values"))]
            values = [_value(item) for item in items if "arrayValue" not in item]
            return tuple(item for item in values if item is not None)
    return None
