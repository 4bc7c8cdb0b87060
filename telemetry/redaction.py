"""What must never leave the process in a span: keys, tokens, and what LiveKit marks as personal (`pii`).

Between the holding of spans and their export; the collector deletes the same keys again.
Names, numbers and texts are kept out at the source: no attribute of ours takes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan

FORBIDDEN_KEY = re.compile(
    r"(^|[._-])(pii|authorization|password|passwd|secret|token|api[._-]?key|cookie|credentials?)([._-]|$)",
    re.IGNORECASE,
)
"""Attribute keys whose values are dropped."""

FREE_TEXT_KEYS = frozenset({"exception.message", "exception.stacktrace"})
"""Keys whose values quote whatever was at hand: a statement with its values, a URL with its query."""

_URL_SECRETS = re.compile(r"(?<=://)[^/@?\s]+@|\?\S*")
"""User and password of a URL, and its query."""


def redacted(span: ReadableSpan) -> ReadableSpan:
    """The span without what must not be exported; the same object where nothing had to go."""
    attributes = span.attributes or {}
    clean = _clean(attributes)
    events = [Event(e.name, _clean(e.attributes or {}), e.timestamp) for e in span.events]
    message = span.status.description
    unchanged = len(clean) == len(attributes) and clean == dict(attributes) and message is None
    if unchanged and all(
        len(a.attributes or {}) == len(b.attributes or {}) for a, b in zip(events, span.events, strict=True)
    ):
        return span
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=clean,
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
        if key not in FREE_TEXT_KEYS and not FORBIDDEN_KEY.search(key)
    }
