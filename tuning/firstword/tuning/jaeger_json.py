"""Jaeger's classic JSON becomes spans: what its page downloads and `/api/traces` answers.

The other of the two formats behind `firstword.tuning.documents`. It has whole microseconds, lists as text, and links without
attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from firstword.tuning.json_shape import Malformed, Object, as_list, as_object, identifier, instant, objects, text
from firstword.tuning.spans import Link, Span, Value


def spans_of_trace(trace: Object, report: Callable[[str], None]) -> Iterator[Span]:
    """The spans of one trace; `report` hears what is wrong with those left out."""
    processes: Object = {}
    try:
        processes = as_object(trace.get("processes"))
    except Malformed as error:
        report(f"`processes` is {error}")
    for span in objects(trace, "spans", report):
        try:
            yield _span(span, trace, processes)
        except Malformed as error:
            report(f"span {span.get('operationName')!r:.60}: {error}")


def _span(span: Object, trace: Object, processes: Object) -> Span:
    trace_id = identifier(span, "traceID") or identifier(trace, "traceID")
    span_id = identifier(span, "spanID")
    start = instant(span, "startTime", 1000)
    if not trace_id or not span_id or not start or start < 0:
        missing = "traceID" if not trace_id else "spanID" if not span_id else "startTime"
        raise Malformed(f"it has no `{missing}`")
    process = as_object(processes.get(text(span, "processID"))) or as_object(span.get("process"))
    tags = _tags(span)
    service = text(process, "serviceName")
    found = Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=None,
        name=text(span, "operationName"),
        kind=str(tags.get("span.kind", "")),
        start_ns=start,
        end_ns=start + max(instant(span, "duration", 1000) or 0, 0),
        attributes=tags,
        resource={**_tags(process), **({"service.name": service} if service else {})},
        error=tags.get("error") is True or tags.get("otel.status_code") == "ERROR",
    )
    return _with_references(found, span)


def _with_references(found: Span, span: Object) -> Span:
    """With its parent: the first reference CHILD_OF, else FOLLOWS_FROM, within the trace. All others are links."""
    references = [as_object(item) for item in as_list(span.get("references"))]
    targets = [Link(identifier(item, "traceID") or found.trace_id, identifier(item, "spanID")) for item in references]
    kinds = [text(item, "refType") for item in references]
    parent = None
    for kind in ("CHILD_OF", "FOLLOWS_FROM"):
        for i, target in enumerate(targets):
            if parent is None and kinds[i] == kind and target.trace_id == found.trace_id:
                parent = i
    old_style = identifier(span, "parentSpanID")
    if parent is None:
        return replace(found, parent_id=old_style or None, links=tuple(targets))
    links = tuple(target for i, target in enumerate(targets) if i != parent)
    return replace(found, parent_id=targets[parent].span_id, links=links, follows=kinds[parent] == "FOLLOWS_FROM")


def _tags(owner: Object) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for item in as_list(owner.get("tags")):
        tag = as_object(item)
        value = tag.get("value")
        if isinstance(value, str | bool | int | float):
            found[text(tag, "key")] = value
    return found
