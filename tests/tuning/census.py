"""A store of a known census, written as many tools write it; shares no code with the readers.

A trace is drawn once, and each writer makes text of it by the rules of its format alone.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
Value = str | bool | int | float | list[str]


@dataclass(frozen=True)
class Drawn:
    """A span as it is drawn; ids are numbers, times ns."""

    trace: int
    span: int
    parent: int
    name: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Value]
    service: str


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
values = st.one_of(
    texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.lists(texts, max_size=3)
)


@st.composite
def traces(draw: st.DrawFn) -> list[Drawn]:
    """A few traces of others, in each some spans below one root: nested, side by side, touching, out of their parents."""
    found: list[Drawn] = []
    for trace in draw(st.lists(st.integers(1, 2**128 - 1), min_size=1, max_size=3, unique_by=lambda n: n % 2**64)):
        trace = trace if trace % 2**64 else trace + 1
        ids = draw(st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=7, unique=True))
        begin = draw(st.sampled_from([0, 1_760_000_000_000_000_000, 1_760_000_000_123_456_789]))
        for number, span in enumerate(ids):
            start = begin + draw(st.integers(0, 40)) * draw(st.sampled_from([1, 500, 1000, 1_000_000]))
            found.append(
                Drawn(
                    trace=trace,
                    span=span,
                    parent=ids[draw(st.integers(0, number - 1))] if number else 0,
                    name=draw(st.one_of(st.sampled_from(["order", "pay"]), texts)),
                    kind=draw(st.integers(0, 5)),
                    start=start,
                    end=start + draw(st.integers(0, 90)) * draw(st.sampled_from([1, 500, 1000, 1_000_000])),
                    attributes=draw(st.dictionaries(texts.filter(lambda key: key != "span.kind"), values, max_size=2)),
                    service=draw(st.sampled_from(["shop", "bank"])),
                )
            )
    return found


def otlp(spans: Sequence[Drawn], *, names: bool = False, in_base64: bool = False) -> list[dict[str, Any]]:
    """Items of `resourceSpans`, one for each span."""

    def identifier(number: int, octets: int) -> str:
        raw = number.to_bytes(octets, "big")
        return base64.b64encode(raw).decode() if in_base64 else raw.hex()

    def value(of: Value) -> dict[str, Any]:
        match of:
            case bool():
                return {"boolValue": of}
            case str():
                return {"stringValue": of}
            case int():
                return {"intValue": str(of)}
            case float():
                return {"doubleValue": of if abs(of) != float("inf") else ("-" if of < 0 else "") + "Infinity"}
            case _:
                return {"arrayValue": {"values": [value(item) for item in of]}}

    return [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": span.service}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "drawn"},
                    "spans": [
                        {
                            "traceId": identifier(span.trace, 16),
                            "spanId": identifier(span.span, 8),
                            **({"parentSpanId": identifier(span.parent, 8)} if span.parent else {}),
                            "name": span.name,
                            "kind": f"SPAN_KIND_{KINDS[span.kind].upper()}" if names else span.kind,
                            "startTimeUnixNano": str(span.start),
                            "endTimeUnixNano": str(span.end),
                            "attributes": [{"key": key, "value": value(of)} for key, of in span.attributes.items()],
                        }
                    ],
                }
            ],
        }
        for span in spans
    ]


def jaeger(spans: Sequence[Drawn], *, zeros: bool = True) -> list[dict[str, Any]]:
    """Items of `data`, as Jaeger makes them: whole microseconds, lists as text; zeros: ids keep their leading ones."""

    def identifier(number: int, digits: int) -> str:
        return f"{number:0{digits if zeros else 1}x}"

    def tag(key: str, of: Value) -> dict[str, Any]:
        match of:
            case bool():
                return {"key": key, "type": "bool", "value": of}
            case str():
                return {"key": key, "type": "string", "value": of}
            case int():
                return {"key": key, "type": "int64", "value": str(of) if abs(of) > 2**53 else of}
            case float():
                return {"key": key, "type": "float64", "value": of}
            case _:
                return {"key": key, "type": "string", "value": json.dumps(of)}

    found: list[dict[str, Any]] = []
    for trace in dict.fromkeys(span.trace for span in spans):
        own = [span for span in spans if span.trace == trace]
        trace_id = identifier(trace, 32)
        made = [
            {
                "traceID": trace_id,
                "spanID": identifier(span.span, 16),
                "operationName": span.name,
                "references": [
                    {"refType": "CHILD_OF", "traceID": trace_id, "spanID": identifier(span.parent, 16)}
                    for _ in range(bool(span.parent))
                ],
                "startTime": span.start // 1000,
                "duration": (span.end - span.start) // 1000,
                "tags": [
                    *(tag(key, of) for key, of in span.attributes.items()),
                    *([tag("span.kind", KINDS[span.kind])] if span.kind else []),
                ],
                "processID": span.service,
            }
            for span in own
        ]
        services = {span.service: {"serviceName": span.service} for span in own}
        found.append({"traceID": trace_id, "spans": made, "processes": services})
    return found


def _lines(documents: Sequence[object]) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


def _in_protobufs_names(text: str) -> str:
    return re.sub(r'"(\w+)":', lambda key: re.sub("([A-Z])", r"_\1", key[0]).lower(), text)


WRITERS: dict[str, Callable[[Sequence[Drawn]], str]] = {
    "OTLP": lambda spans: json.dumps({"resourceSpans": otlp(spans)}),
    "OTLP, a request a span": lambda spans: _lines([{"resourceSpans": [item]} for item in otlp(spans)]),
    "OTLP by protobuf": lambda spans: json.dumps({"resourceSpans": otlp(spans, names=True, in_base64=True)}, indent=1),
    "OTLP in protobuf's names": lambda spans: _in_protobufs_names(json.dumps({"resourceSpans": otlp(spans)})),
    "Java's exporter": lambda spans: _lines(otlp(spans)),
    "Tempo, version 1": lambda spans: json.dumps({"batches": otlp(spans, names=True, in_base64=True)}),
    "Tempo, version 2": lambda spans: json.dumps({"trace": {"resourceSpans": otlp(spans, in_base64=True)}}),
    "Jaeger": lambda spans: json.dumps({"data": jaeger(spans), "total": 0, "errors": None}),
    "Jaeger without leading zeros": lambda spans: json.dumps({"data": jaeger(spans, zeros=False)}, indent=4),
    "Jaeger, version 3": lambda spans: _lines([{"result": {"resourceSpans": otlp(spans)}}]),
    "jq .data[]": lambda spans: "\n".join(json.dumps(trace, indent=2) for trace in jaeger(spans)),
}
PACKERS: dict[str, Callable[[str], bytes]] = {
    "": str.encode,
    "gzip": lambda text: gzip.compress(text.encode()),
    "UTF-16": lambda text: text.encode("utf-16"),
}


def lay_out(folder: Path, spans: Sequence[Drawn], writer: str, packer: str, files: int, order: random.Random) -> None:
    """Write the spans, shuffled, into so many files of the folder."""
    shuffled = list(spans)
    order.shuffle(shuffled)
    for number in range(files):
        part = shuffled[number::files]
        if part:
            (folder / f"{number}.json").write_bytes(PACKERS[packer](WRITERS[writer](part)))
