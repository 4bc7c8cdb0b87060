"""What must never leave the process in a span: keys, tokens, what was said, and what LiveKit marks as personal (`pii`).

Between the holding of spans and their export; the collector deletes the same keys again.
Names, numbers and texts are kept out at the source: no attribute of ours takes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan

PRIVATE_KEYS = (
    r"(?i)(^|[._-])pii($|[._-])|authorization|cookie|credential|passw(or)?d|secret|api[._-]?key|token$|phone_?number"
    r"|^gen_ai\.((input|output)\.messages|system_instructions|prompt\.variable|tool\.(call\.(arguments|result)"
    r"|description|definitions)|retrieval\.(documents|query\.text)|memory\.(records|query\.text)|evaluation\.explanation)"
)
"""Attribute keys whose values are dropped; `otel-collector.yaml` deletes the same, and a test keeps the two equal.

Those of `gen_ai.` are what the semantic conventions say may hold a conversation, under names that can't be marked.
"""

PRIVATE_EVENTS = r"^gen_ai\.([a-z]+\.message|choice|client\.inference\.operation\.details)$"
"""Names of events that are dropped whole: they are a message each. The collector drops the same."""

FREE_TEXT_KEYS = frozenset({"exception.message", "exception.stacktrace"})
"""Keys whose values quote whatever was at hand: a statement with its values, a URL with its query."""

_PRIVATE_KEY, _PRIVATE_EVENT = re.compile(PRIVATE_KEYS), re.compile(PRIVATE_EVENTS)
_URL_SECRETS = re.compile(r"(?<=://)[^/@?\s]+@|\?\S*")
"""User and password of a URL, and its query."""


def redacted(span: ReadableSpan) -> ReadableSpan:
    """The span without what must not be exported; the same object where nothing had to go."""
    attributes = _clean(span.attributes or {})
    kept = [event for event in span.events if not _PRIVATE_EVENT.search(event.name)]
    events = [Event(event.name, _clean(event.attributes or {}), event.timestamp) for event in kept]
    if (
        attributes == dict(span.attributes or {})
        and len(events) == len(span.events)
        and all(one.attributes == dict(other.attributes or {}) for one, other in zip(events, kept, strict=True))
        and span.status.description is None
    ):
        return span
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=events,
        links=span.links,
        kind=span.kind,
        # the description is free text too
        status=type(span.status)(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _clean(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _URL_SECRETS.sub("", value) if isinstance(value, str) and "://" in value else value
        for key, value in attributes.items()
        if key not in FREE_TEXT_KEYS and not _PRIVATE_KEY.search(key)
    }
