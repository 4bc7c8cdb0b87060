"""Traces as other tools write them, each with its right value. In most of them `pay` and `ship` follow each other in `order`."""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firstword.tuning.files import Files
from firstword.tuning.notes import Note, PassedOver, Problem, Used, Warned
from firstword.tuning.sources import Query
from firstword.tuning.start import Method, start_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TRACES = Path(__file__).parent / "traces"
SHOP = [("order", 0, 10), ("pay", 10, 40), ("ship", 50, 40), ("order", 90, 10)]
PLAIN = [json.loads(line) for line in gzip.decompress((TRACES / "otlp.jsonl.gz").read_bytes()).splitlines()]
"""The trace of the shop in two export requests."""


def read(path: Path) -> tuple[list[tuple[str, int, int]], list[Note]]:
    """The path of the only trace, as name, start and duration in ms; and all that is neither used nor given."""
    notes: list[Note] = []
    (trace,) = Files(path).traces(Query(), notes.append)
    start = start_of(trace)
    assert start.method is Method.GUESSED
    found = [(piece.name, piece.start_us // 1000, piece.duration_us // 1000) for piece in start.path]
    return found, [note for note in notes if isinstance(note, Problem | PassedOver | Warned)]


def problem(path: Path) -> str:
    """The only problem of a file without a trace."""
    notes: list[Note] = []
    assert list(Files(path).traces(Query(), notes.append)) == []
    (found,) = [note for note in notes if isinstance(note, Problem)]
    assert found.whole_file
    return str(found)


@pytest.mark.parametrize(
    "name",
    [
        "otlp-two-pretty-documents.jsonl",
        "otlp-list-of-resource-spans.json",
        "otlp-old-instrumentationLibrarySpans.json",
        "otlp-powershell-utf16.json",
        "otlp-base64-unpadded.json",
        "otlp-odd-values.json",
        "otlp.jsonl.gz",
        "java-logging-exporter.jsonl",
        "tempo-v1-batches.json",
    ],
)
def test_the_shops_order_is_read(name: str) -> None:
    """Whoever wrote it, the path is the same, and nothing is lost."""
    assert read(TRACES / name) == (SHOP, [])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("jaeger-boundary-siblings.json", [("P", 0, 100), ("C1", 100, 50), ("C2", 150, 50)]),
        ("jaeger-async-gather.json", [("get foo2", 0, 200), ("get foo3", 200, 300)]),
        (
            "jaeger-reference-truncated-to-64-bit.json",
            [("live", 0, 5), ("GET", 5, 5), ("ready", 10, 80), ("GET", 90, 5), ("live", 95, 5)],
        ),
        ("jaeger-v3-odd-values.json", [("order", 0, 10), ("pay", 10, 40), ("order", 50, 50)]),
    ],
)
def test_jaegers_traces_are_read(name: str, path: list[tuple[str, int, int]]) -> None:
    """Spans that touch are in sequence; a reference with the low half of an id leads to the whole one."""
    assert read(TRACES / name) == (path, [])


def test_other_signals_are_passed_over_and_counted() -> None:
    """A collector that writes all of them into one file: no problem, so that nothing waits for it."""
    path, notes = read(TRACES / "otlp-all-signals-in-one.jsonl")
    lines = (TRACES / "otlp-all-signals-in-one.jsonl").read_text().splitlines()
    assert path == SHOP
    assert {note.what: note.pieces for note in notes if isinstance(note, PassedOver)} == {
        f"documents of {signal}": sum(f'"resource{signal.title()}"' in line for line in lines)
        for signal in ("logs", "metrics")
        if any(f'"resource{signal.title()}"' in line for line in lines)
    }


def test_a_value_that_cannot_be_kept_costs_the_attribute() -> None:
    """-2^63 is a 64-bit integer; 2^64-1 is none. Bytes, maps and nothing are values that no start has."""
    notes: list[Note] = []
    (trace,) = Files(TRACES / "otlp-odd-values.json").traces(Query(), notes.append)
    assert trace.root.attributes["int64.min"] == -(2**63)
    assert {span.name: dict(span.attributes) for span in trace.spans}["ship"] == {}
    assert [note.values_left_out for note in notes if isinstance(note, Used)] == [1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "python-console-exporter.json",
            "line 1: what OpenTelemetry's ConsoleSpanExporter of Python prints (and 2 more); expected OTLP JSON: "
            "send with an OTLP exporter to a collector",
        ),
        ("otlp-log-prefix.jsonl", "line 1: JSON after the beginning of a log line; expected the JSON alone; to cut"),
        ("jaeger-error-answer.json", "line 1: an error's answer: trace not found; expected an answer with a trace"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(name: str, says: str) -> None:
    """What it is, and what to do; an error in the server's own words."""
    assert problem(TRACES / name).startswith(f"{name} {says}")


def snake(text: str) -> str:
    """The same with the names that protobuf has."""
    return re.sub(r'"(\w+)":', lambda key: re.sub("([A-Z])", r"_\1", key[0]).lower(), text)


def resources() -> list[Any]:
    return [resource for document in PLAIN for resource in document["resourceSpans"]]


def spans() -> list[Any]:
    return [span for resource in resources() for scope in resource["scopeSpans"] for span in scope["spans"]]


WRITTEN: dict[str, Callable[[], str]] = {
    "lines": lambda: "\n".join(map(json.dumps, PLAIN)),
    "a list": lambda: json.dumps(PLAIN),
    "a list over many lines": lambda: json.dumps(PLAIN, indent=2),
    "documents without anything between": lambda: "".join(map(json.dumps, PLAIN)),
    "documents over many lines without anything between": lambda: "".join(json.dumps(d, indent=1) for d in PLAIN),
    "lines, then a document over many": lambda: json.dumps(PLAIN[0]) + "\n" + json.dumps(PLAIN[1], indent=4),
    "a document over many lines, then lines": lambda: json.dumps(PLAIN[0], indent=4) + "\n" + json.dumps(PLAIN[1]),
    "jq --seq": lambda: "".join(f"\x1e{json.dumps(document, indent=2)}\n" for document in PLAIN),
    "jq .resourceSpans[]": lambda: "\n".join(json.dumps(resource, indent=2) for resource in resources()),
    "jq .scopeSpans[]": lambda: "\n".join(json.dumps(s) for resource in resources() for s in resource["scopeSpans"]),
    "jq .spans[]": lambda: "\n".join(json.dumps(span, indent=2) for span in spans()),
    "a list of spans": lambda: json.dumps(spans()),
    "Tempo's version 2": lambda: json.dumps({"trace": {"resourceSpans": resources()}, "metrics": {}}),
    "Jaeger's version 3, an answer a line": lambda: "\n".join(json.dumps({"result": document}) for document in PLAIN),
    "the names of protobuf": lambda: snake(json.dumps(PLAIN)),
    "a byte order mark, twice": lambda: "".join("\ufeff" + json.dumps(document) + "\r\n" for document in PLAIN),
}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "gzip", "zstd", "gzip of utf-16"])
def test_one_document_or_many_in_any_encoding(tmp_path: Path, form: str, encoding: str) -> None:
    """All that a shell makes of export requests; packed files are known by their first bytes."""
    text = WRITTEN[form]()
    kind, _, of = encoding.partition(" of ")
    pack = {"gzip": gzip.compress, "zstd": zstd.compress}.get(kind)
    content = text.encode(of or ("utf-8" if pack else kind))
    (tmp_path / "t.json").write_bytes(pack(content) if pack else content)
    assert read(tmp_path / "t.json") == (SHOP, [])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_known_by_its_first_bracket(tmp_path: Path, encoding: str) -> None:
    """As a program writes it that is asked for UTF-16LE."""
    (tmp_path / "t.json").write_bytes(WRITTEN["a list over many lines"]().encode(encoding))
    assert read(tmp_path / "t.json") == (SHOP, [])


def a_jaeger_trace() -> dict[str, Any]:
    return json.loads((TRACES / "jaeger-async-gather.json").read_text())["data"][0]


def test_zero_is_a_time(tmp_path: Path) -> None:
    """Traces that were made relative to their begin, as CRISP's are, keep their root."""
    trace = a_jaeger_trace()
    begin = trace["spans"][0]["startTime"]
    for span in trace["spans"]:
        span["startTime"] -= begin
    (tmp_path / "t.json").write_text(json.dumps({"data": [trace]}))
    path = [("get foo2", 0, 200), ("get foo3", 200, 300)]
    assert read(tmp_path / "t.json") == (path, [])
    text = json.dumps(spans()).replace('"1760000000', '"')
    (tmp_path / "t.json").write_text(text)
    assert read(tmp_path / "t.json") == (SHOP, [])


def test_ids_are_numbers(tmp_path: Path) -> None:
    """Without leading zeros, in capitals, and with the low half of a trace's id in some spans: one trace."""
    trace = a_jaeger_trace()
    low = trace["traceID"][16:]
    for span in trace["spans"][2:]:
        span["traceID"] = low.upper()
        span["spanID"] = span["spanID"].lstrip("0")
        span["references"] = [{**reference, "traceID": low} for reference in span["references"]]
    del trace["traceID"]
    (tmp_path / "t.json").write_text(json.dumps(trace))
    assert read(tmp_path / "t.json") == ([("get foo2", 0, 200), ("get foo3", 200, 300)], [])
    for asked in (f"{low}", f"0af7651916cd43dd{low}", f"0AF7651916CD43DD{low}"):
        found = Files(tmp_path).trace(asked, lambda _: None)
        assert found is not None
        assert len(found.spans) == 4


def test_jaegers_warnings_are_said_once(tmp_path: Path) -> None:
    """Such as that clocks differ, which moves spans out of their parents."""
    trace = a_jaeger_trace()
    for span in trace["spans"]:
        span["warnings"] = ["clock skew adjustment disabled; not applying calculated delta of 5s"]
    (tmp_path / "t.json").write_text(json.dumps({"data": [trace]}))
    _, notes = read(tmp_path / "t.json")
    assert [note.says for note in notes if isinstance(note, Warned)] == trace["spans"][0]["warnings"]


def test_a_partial_trace_of_tempo_is_said(tmp_path: Path) -> None:
    """Tempo answers with what it has, and a status."""
    answer = {"trace": {"resourceSpans": resources()}, "status": "PARTIAL", "message": "trace exceeds max size"}
    (tmp_path / "t.json").write_text(json.dumps(answer))
    path, notes = read(tmp_path / "t.json")
    assert (path, notes) == (SHOP, [Warned("t.json", "the trace is not complete: trace exceeds max size")])


def test_what_lies_in_a_folder_is_read_or_counted(tmp_path: Path) -> None:
    """Rotated and packed files are read; other files are passed over by their kind; an empty one is no loss."""
    (tmp_path / "otlp.jsonl").write_text(json.dumps(PLAIN[0]))
    (tmp_path / "otlp.jsonl.1.gz").write_bytes(gzip.compress(json.dumps(PLAIN[1]).encode()))
    (tmp_path / "otlp-2026-11-29T10-00-00.000.jsonl.zst").write_bytes(zstd.compress(b""))
    (tmp_path / "metrics.json").write_text('{"resourceMetrics": [{}]}\n' * 3)
    (tmp_path / "package.json").write_text('{"name": "shop"}')
    (tmp_path / "worker.log").write_text("text")
    path, notes = read(tmp_path)
    assert path == SHOP
    assert notes == [
        PassedOver("worker.log", ".log"),
        PassedOver("metrics.json", "only metrics"),
        PassedOver("package.json", "an object with `name`"),
    ]


@pytest.mark.parametrize(
    ("pack", "says"),
    [
        (gzip.compress, "its compressed data is cut or damaged"),
        (zstd.compress, "its compressed data is cut or damaged"),
    ],
)
def test_a_packed_file_that_was_cut_is_used_as_far_as_it_goes(
    tmp_path: Path, pack: Callable[[bytes], bytes], says: str
) -> None:
    """And it is said that more was there."""
    many = "\n".join(json.dumps({**PLAIN[0], "n": str(n) * 3000}) for n in range(400))
    content = pack((json.dumps(PLAIN[1]) + "\n" + json.dumps(PLAIN[0]) + "\n" + many).encode())
    (tmp_path / "t.jsonl.gz").write_bytes(content[: len(content) * 3 // 4])
    path, (lost,) = read(tmp_path / "t.jsonl.gz")
    assert path == SHOP
    assert isinstance(lost, Problem)
    assert lost.whole_file
    assert says in lost.found
