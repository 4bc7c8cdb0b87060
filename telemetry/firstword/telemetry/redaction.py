"""Removes from spans what must never leave the process: keys, tokens, what was said, who said it, and what anybody else
filled in.

Between the holding of spans and their export. An attribute of LiveKit's leaves if it is on a list
(`firstword.telemetry.livekit_attributes`). Any other leaves unless its name says that it is private. Of a URL only that
leaves which no caller chooses. The collector deletes the private names again. Names, numbers and texts are kept out at
the source: no attribute of ours takes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link

from firstword.telemetry import livekit_attributes

PRIVATE_KEYS = (
    r"(?i)(^|[._-])pii($|[._-])|authorization|cookie|credential|passw(or)?d|secret|api[._-]?key|token$|phone_?number"
    r"|(^|[._-])jwt$|(^|[._-])(e-?)?mail$|identity$|room_?name$|^enduser\.|^user\.|^lk\.sip\.h\.|^url\.(query|fragment)$"
    r"|^http\.(request|response)\.header\.|^rpc\.(method|service)$"
    r"|^gen_ai\.((input|output)\.messages|system_instructions|prompt\.variable|tool\.(call\.(arguments|result)"
    r"|description|definitions)|retrieval\.(documents|query\.text)|memory\.(records|query\.text)|evaluation\.explanation)"
)
"""Attribute keys whose values are dropped; `otel-collector.yaml` deletes the same, and a test keeps the two equal.

Those of `gen_ai.` are what the semantic conventions say may hold a conversation, under names that can't be marked.
"""

PRIVATE_EVENTS = r"^gen_ai\.([a-z]+\.message|choice|client\.inference\.operation\.details)$"
"""Names of events that are dropped whole, as each is a message. The collector drops the same."""

FREE_TEXT_KEYS = frozenset({"exception.message", "exception.stacktrace"})
"""Keys whose values quote whatever they come upon: a statement with its values, a URL with its query."""

_PATH_KEYS: Final = frozenset({"url.path", "http.target", "http.route"})
_PATH_WORDS: Final = frozenset(
    [
        "v1",
        "v2",
        "listen",
        "speak",
        "agent",
        "audio",
        "speech",
        "transcriptions",
        "chat",
        "completions",
        "responses",
        "embeddings",
        "models",
        "realtime",
        "openai",
        "deployments",
        "twirp",
        "rtc",
        "validate",
        "settings",
        "regions",
        "jaeger",
        "api",
        "traces",
        "metrics",
        "health",
    ]
)
"""Parts of a path that a provider's or LiveKit's API has; any other may be a caller's."""
_PRIVATE_KEY, _PRIVATE_EVENT = re.compile(PRIVATE_KEYS), re.compile(PRIVATE_EVENTS)
_URL_KEYS: Final = frozenset({"url.full", "url.original", "http.url"})
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*://)(?:[^/@?#\s]*@)?([^/?#\s]*)([^?#\s]*)(?:[?#]\S*)?", re.I)
_WHOLE_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*://)(?:[^/?#]*@)?([^/?#\s]*)([^?#]*)(?:[?#].*)?", re.I | re.S)


def redacted(span: ReadableSpan) -> ReadableSpan:
    """Returns the span without what must not be exported; the same object if nothing had to be removed."""
    attributes = cleaned(span.attributes or {})
    kept = [event for event in span.events if not _PRIVATE_EVENT.search(event.name)]
    events = [Event(event.name, cleaned(event.attributes or {}), event.timestamp) for event in kept]
    links = [Link(link.context, cleaned(link.attributes or {})) for link in span.links]
    if (
        attributes == dict(span.attributes or {})
        and len(events) == len(span.events)
        and all(one.attributes == dict(other.attributes or {}) for one, other in zip(events, kept, strict=True))
        and all(one.attributes == dict(other.attributes or {}) for one, other in zip(links, span.links, strict=True))
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
        links=links,
        kind=span.kind,
        # the description is free text too
        status=type(span.status)(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def redacted_resource(resource: Resource) -> Resource:
    """Returns the resource without what must not be exported: an operator may have put a key into
    `OTEL_RESOURCE_ATTRIBUTES`.
    """
    return Resource(cleaned(resource.attributes), resource.schema_url)


def is_private(key: str) -> bool:
    """Returns whether the name of an attribute, or of a field in a log, says that its value is private."""
    return key in FREE_TEXT_KEYS or _PRIVATE_KEY.search(key) is not None


def cleaned(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes that may be exported, with the URLs and paths in their values cut.

    Leaves out what has a private name (`is_private`), and what LiveKit writes unless it is on our list.
    """
    return {
        key: _clean(key, value)
        for key, value in attributes.items()
        if not is_private(key) and livekit_attributes.kept(key, value)
    }


def without_url_secrets(text: str) -> str:
    """Returns the text with each URL in it cut: user, password, query, and the parts of the path that a caller may have
    chosen.
    """
    return _URL.sub(_url, text) if "://" in text else text


def _clean(key: str, value: Any) -> Any:
    if isinstance(value, str):
        if key in _PATH_KEYS:
            return _path(re.split(r"[?#]", value, maxsplit=1)[0])
        if key in _URL_KEYS:
            found = _WHOLE_URL.fullmatch(value)
            return _path(value) if found is None else _url(found)
        return without_url_secrets(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(_clean(key, each) for each in cast("Sequence[Any]", value))
    return value


def _url(found: re.Match[str]) -> str:
    """Scheme, host and port, and what is not a caller's of the path; neither user, password nor query."""
    return f"{found[1]}{found[2]}{_path(found[3])}"


def _path(path: str) -> str:
    return "/".join(part if not part or part.lower() in _PATH_WORDS else "*" for part in path.split("/"))
