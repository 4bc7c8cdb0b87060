"""Reads back what workers export: the spans in OTLP JSON files, and the trace of one start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firstword.telemetry.vocabulary import EDGE, OUTCOME, ROOM_SID, ROOT


@dataclass(frozen=True)
class Span:
    """One exported span, as the OTLP JSON line had it."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    begin: int
    end: int
    attributes: Mapping[str, Any]
    events: tuple[str, ...]
    edges: Mapping[str, str]
    """Of its links: trace id, and what kind of edge it is (`startup.edge`)."""
    failed: bool

    def overlaps(self, other: Span) -> bool:
        """Both went on at the same time for a while."""
        return self.begin < other.end and other.begin < self.end


@dataclass(frozen=True)
class Traced:
    """The start-up trace of one session, as far as it has been exported."""

    root: Span
    spans: tuple[Span, ...]

    @property
    def outcome(self) -> str:
        return self.root.attributes[OUTCOME]

    @property
    def names(self) -> list[str]:
        """In order of their begin."""
        return [span.name for span in sorted(self.spans, key=lambda span: span.begin)]

    def __getitem__(self, name: str) -> Span:
        """The only span of that name."""
        (found,) = (span for span in self.spans if span.name == name)
        return found


def spans_of(folder: Path) -> list[Span]:
    """Every span in the files of a folder."""
    return [span for file in sorted(folder.glob("*.jsonl")) for span in spans_in(file.read_bytes())]


def spans_in(exported: bytes) -> list[Span]:
    """The spans in the OTLP JSON lines of a file; the last one counts once it is whole."""
    return [
        _span(span)
        for line in exported[: exported.rfind(b"\n") + 1].splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def find_start(spans: list[Span], room_sid: str) -> Traced | None:
    """The trace of the start in that room; None while its root is not there."""
    for root in spans:
        if root.name == ROOT and root.attributes.get(ROOM_SID) == room_sid:
            return Traced(root, tuple(span for span in spans if span.trace_id == root.trace_id))
    return None


def _span(span: dict[str, Any]) -> Span:
    return Span(
        name=span["name"],
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId", ""),
        begin=int(span["startTimeUnixNano"]),
        end=int(span["endTimeUnixNano"]),
        attributes=_attributes(span),
        events=tuple(event["name"] for event in span.get("events", ())),
        edges={link["traceId"]: _attributes(link).get(EDGE, "") for link in span.get("links", ())},
        failed=span.get("status", {}).get("code") == 2,
    )


def _attributes(item: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: _value(each["value"]) for each in item.get("attributes", ())}


def _value(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [_value(item) for item in content.get("values", ())]
    return int(content) if kind == "intValue" else content
