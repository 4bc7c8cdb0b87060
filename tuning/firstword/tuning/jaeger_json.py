"""Turns Jaeger's classic JSON into spans: what its page downloads and `/api/traces` answers.

The other of the two formats behind `firstword.tuning.documents`. It has whole microseconds, lists as text, and links
without attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from firstword.tuning.json_shape import (
    SPAN_ID_DIGITS,
    TRACE_ID_DIGITS,
    Malformed,
    Object,
    as_list,
    as_object,
    double,
    identifier,
    instant,
    integer,
    objects,
    same_trace,
    text,
)
from firstword.tuning.spans import Link, Span, Value
from firstword.tuning.tally import Tally

T = TypeVar("T")

_NO_NEWS = "Negative duration detected"
"""A warning of each span without a length: Jaeger adds a nanosecond."""


def spans_of_trace(trace: Object, tally: Tally) -> Iterator[Span]:
    """Yields the spans of one trace of Jaeger's (an item of `data`), or of a span that stands alone. Tells `tally` what can't be read."""
    processes: Object = {}
    try:
        processes = as_object(trace.get("processes"))
    except Malformed:
        tally.value_left_out()
    _warnings(trace, tally)
    spans = objects(trace, "spans", tally.loss) if "spans" in trace else iter((trace,))
    for span in spans:
        try:
            found = _span(span, trace, processes, tally)
        except Malformed as error:
            tally.loss(f"span {span.get('operationName')!r:.60}: {error}")
        else:
            tally.span()
            yield found


def _span(span: Object, trace: Object, processes: Object, tally: Tally) -> Span:
    trace_id = identifier(span, "traceID", TRACE_ID_DIGITS) or identifier(trace, "traceID", TRACE_ID_DIGITS)
    span_id = identifier(span, "spanID", SPAN_ID_DIGITS)
    start = instant(span, "startTime", 1000)
    if not trace_id or not span_id or start is None or start < 0:
        missing = "traceID" if not trace_id else "spanID" if not span_id else "startTime"
        raise Malformed(f"it has no `{missing}`")
    if span is not trace:
        _warnings(span, tally)
    tags = _tags(span, tally)
    found = Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=None,
        name=_or(lambda: text(span, "operationName"), "", tally),
        kind=str(tags.get("span.kind", "")),
        start_ns=start,
        end_ns=start + max(instant(span, "duration", 1000) or 0, 0),
        attributes=tags,
        resource=_or(lambda: _resource(span, processes, tally), {}, tally),
        error=tags.get("error") is True or tags.get("otel.status_code") == "ERROR",
    )
    return _with_references(found, span, tally)


def _or(read: Callable[[], T], otherwise: T, tally: Tally) -> T:
    """What `read` returns; where it is malformed, a value is left out."""
    try:
        return read()
    except Malformed:
        tally.value_left_out()
        return otherwise


def _resource(span: Object, processes: Object, tally: Tally) -> Mapping[str, Value]:
    process = as_object(processes.get(text(span, "processID"))) or as_object(span.get("process"))
    service = text(process, "serviceName")
    return {**_tags(process, tally), **({"service.name": service} if service else {})}


def _with_references(found: Span, span: Object, tally: Tally) -> Span:
    """With its parent: the first reference CHILD_OF, else FOLLOWS_FROM, within the trace. All others are links."""
    kinds: list[str] = []
    targets: list[Link] = []
    for item in objects(span, "references", lambda _: tally.value_left_out()):
        try:
            kind, trace_id = text(item, "refType"), identifier(item, "traceID", TRACE_ID_DIGITS)
            targets.append(Link(trace_id or found.trace_id, identifier(item, "spanID", SPAN_ID_DIGITS)))
        except Malformed:
            tally.value_left_out()
        else:
            kinds.append(kind)
    parent = None
    for kind in ("CHILD_OF", "FOLLOWS_FROM"):
        for i, target in enumerate(targets):
            if parent is None and kinds[i] == kind and same_trace(target.trace_id, found.trace_id):
                parent = i
    old_style = _or(lambda: identifier(span, "parentSpanID", SPAN_ID_DIGITS), "", tally)
    if parent is None:
        return replace(found, parent_id=old_style or None, links=tuple(targets))
    links = tuple(target for i, target in enumerate(targets) if i != parent)
    follows = kinds[parent] == "FOLLOWS_FROM"
    return replace(found, parent_id=targets[parent].span_id or None, links=links, follows=follows)


def _tags(owner: Object, tally: Tally) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for tag in objects(owner, "tags", lambda _: tally.value_left_out()):
        value, key = _value(tag), tag.get("key")
        if value is None or not isinstance(key, str):
            tally.value_left_out()
        else:
            found[key] = value
    return found


def _value(tag: Object) -> Value | None:
    """A number may be text where the type says so: JavaScript has no large integers. None for what can't be kept."""
    value: object = tag.get("value")
    match tag.get("type"), value:
        case "int64", str():
            return _or_text(integer(value), value)
        case "float64", str():
            return _or_text(double(value), value)
        case "bool", str():
            return value == "true"
        case _, str() | bool():
            return value
        case _, int():
            return integer(value)
        case _, float():
            return value
        case _:
            return None


def _or_text(number: float | None, text: str) -> Value:
    return text if number is None else number


def _warnings(owner: Object, tally: Tally) -> None:
    """What Jaeger says of a trace or a span, such as that its clock skew was not adjusted."""
    warnings = owner.get("warnings")
    if warnings:
        for says in _or(lambda: as_list(warnings), [], tally):
            if not str(says).startswith(_NO_NEWS):
                tally.warning(str(says))
