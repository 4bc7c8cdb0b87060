"""Files of either format, whole and broken: what can be read is, and what can't is said with its line."""

from __future__ import annotations

import base64
import gc
import json
import random
from pathlib import Path
from typing import Any

import pytest

from firstword.tuning import json_documents
from firstword.tuning.files import Files
from firstword.tuning.grouping import traces_of
from firstword.tuning.notes import Note, Problem
from firstword.tuning.otlp import spans_of_request
from firstword.tuning.sources import Query, SourceError
from firstword.tuning.spans import Span, Trace
from firstword.tuning.start import Method, start_of
from firstword.tuning.tally import Tally
from tests.tuning.written import T0, jaeger_span, jaeger_trace, no_problem, otlp_span, request

SHOP = [otlp_span("order", 1, None, 0, 100), otlp_span("pay", 2, 1, 10, 59), otlp_span("ship", 3, 1, 60, 90)]
SHOP_PATH = [("order", 0, 10), ("pay", 10, 49), ("order", 59, 1), ("ship", 60, 30), ("order", 90, 10)]


def read(path: Path) -> tuple[list[Trace], list[str]]:
    """All traces and all problems of a file or folder."""
    notes: list[Note] = []
    traces = list(Files(path).traces(Query(), notes.append))
    return traces, [str(note) for note in notes if isinstance(note, Problem)]


def path_of(trace: Trace) -> list[tuple[str, int, int]]:
    """A path as name, start and duration, µs."""
    return [(piece.name, piece.start_us, piece.duration_us) for piece in start_of(trace).path]


def one(path: Path) -> Trace:
    """The only trace in a file without problems."""
    traces, problems = read(path)
    assert problems == []
    (trace,) = traces
    return trace


def test_a_trace_of_others_has_a_likely_path(tmp_path: Path) -> None:
    """The rule of the span that finished last, in the order of time; the method says so; there is no TTFW."""
    (tmp_path / "t.jsonl").write_text(request(SHOP))
    start = start_of(one(tmp_path))
    assert path_of(one(tmp_path)) == SHOP_PATH
    assert (start.method, start.ttfw_s, start.duration_us) == (Method.GUESSED, None, 100)


def test_the_spans_of_a_trace_may_lie_anywhere(tmp_path: Path) -> None:
    """In several lines and several files, in any order, some twice."""
    (tmp_path / "a.jsonl").write_text(request(SHOP[2:]) + "\n" + request(SHOP[1:2]))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.json").write_text(request(SHOP[:2]))
    assert {span.name for span in one(tmp_path).spans} == {"order", "pay", "ship"}


def test_a_folder_of_rehearsals_is_read_whole(tmp_path: Path) -> None:
    """All their traces, and none of their figures, which are no traces and no problem."""
    for name in ("first", "second"):
        (tmp_path / name / "traces" / "tuned").mkdir(parents=True)
        (tmp_path / name / "result.json").write_text('{"profiles": {}}')
        (tmp_path / name / "sessions.jsonl").write_text('{"profile": "tuned"}\n')
        (tmp_path / name / "cache").mkdir()
        (tmp_path / name / "cache" / "flags.json").write_text('{"flags": {}}')
    (tmp_path / "first" / "traces" / "tuned" / "a.jsonl").write_text(request(SHOP[:2]))
    (tmp_path / "second" / "traces" / "tuned" / "b.jsonl").write_text(request(SHOP[2:]))
    assert {span.name for span in one(tmp_path).spans} == {"order", "pay", "ship"}


def test_past_a_limit_spans_are_sorted_through_files() -> None:
    """The traces are the same, however few spans may be in memory."""
    written = [
        otlp_span(f"s{i}", i, 1 if i > 1 else None, i, 100 - i, traceId=f"{n:032x}")
        for n in range(1, 60)
        for i in (1, 2, 3)
    ]
    random.Random(1).shuffle(written)
    spans = list(spans_of_request(json.loads(request(written)), Tally("t", no_problem)))
    held, sorted_through_files = (
        {trace.trace_id: list(trace.spans) for trace in traces_of(spans, no_problem, most_held=most)}
        for most in (1_000, 10)
    )
    assert len(held) == 59
    assert sorted_through_files == held


def test_however_many_spans_come_no_more_are_held() -> None:
    """Also where one split into files would leave each too large: 64 of 400 spans, and 100 may be held."""
    most, traces = 100, 6_400
    spans = (
        Span(f"{n:032x}", f"{i:016x}", f"{0:016x}" if i else None, "s", "", T0, T0 + 10, {})
        for i in range(4)
        for n in range(traces)
    )
    seen, held = 0, 0
    for trace in traces_of(spans, no_problem, most_held=most):
        assert len(trace.spans) == 4
        if seen % 397 == 0:  # at another place of each file
            gc.collect()
            held = max(held, sum(type(kept) is Span for kept in gc.get_objects()))
        seen += 1
    assert seen == traces
    assert held <= most + 4


def test_base64_ids_and_named_enums_are_read_too(tmp_path: Path) -> None:
    """As protobuf's own JSON has them; the ids are then the same in hex."""

    def base64_of(value: str) -> str:
        return base64.b64encode(bytes.fromhex(value)).decode()

    (tmp_path / "hex.jsonl").write_text(request(SHOP))
    changed: list[dict[str, Any]] = json.loads(json.dumps(SHOP))
    for span in changed:
        span["kind"] = "SPAN_KIND_INTERNAL"
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = base64_of(span[key])
    (tmp_path / "base64.jsonl").write_text(request(changed))
    assert one(tmp_path / "base64.jsonl") == one(tmp_path / "hex.jsonl")
    assert Files(tmp_path / "base64.jsonl").trace(f"{1:032x}", no_problem) is not None
    assert Files(tmp_path / "hex.jsonl").trace(f"{2:032x}", no_problem) is None


@pytest.mark.parametrize("shape", ["download", "list", "trace", "lines", "pretty"])
def test_jaeger_json_is_read_in_each_of_its_shapes(tmp_path: Path, shape: str) -> None:
    """The page's download, a plain list, one trace, a line each, over many lines; an id without its leading zeros."""
    trace = jaeger_trace(jaeger_span("order", "1", None, 0, 100), jaeger_span("pay", "2", "1", 10, 49))
    text = {
        "download": json.dumps({"data": [trace]}),
        "list": json.dumps([trace]),
        "trace": json.dumps(trace),
        "lines": json.dumps({"data": [trace]}) + "\n" + json.dumps({"data": []}),
        "pretty": json.dumps({"data": [trace]}, indent=4),
    }[shape]
    (tmp_path / "t.json").write_text(text)
    found = one(tmp_path)
    assert (found.trace_id, found.root.service) == (f"{0xABC1:032x}", "shop")
    assert path_of(found) == [("order", 0, 10), ("pay", 10, 49), ("order", 59, 41)]


def test_what_follows_its_parent_is_not_on_the_path(tmp_path: Path) -> None:
    """Jaeger's FOLLOWS_FROM: nobody waited for it."""
    audit = jaeger_span("audit", "2", "1", 10, 90)
    audit["references"][0]["refType"] = "FOLLOWS_FROM"
    (tmp_path / "t.json").write_text(json.dumps([jaeger_trace(jaeger_span("order", "1", None, 0, 100), audit)]))
    assert path_of(one(tmp_path)) == [("order", 0, 100)]


GOOD = request(SHOP)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GOOD + GOOD[:200], "line 2: not JSON, unterminated string starting at column "),
        (GOOD[:200] + "\n" + GOOD, "line 1: not JSON, unterminated string starting at column "),
        (GOOD + '{"flags": {}}\n', "line 2: an object with `flags`; expected OTLP JSON lines"),
        (GOOD + "17\n", "line 2: a number in place of an object"),
        (GOOD + "null\n", "line 2: an empty object"),
        (GOOD + "[" * 100_000 + "\n", "line 2: not JSON, nested too deeply"),
        (
            GOOD + request([otlp_span("x", 9, None, 0, 1, spanId=7)]),
            "line 2: span 'x': `spanId` is a number in place of text",
        ),
        (
            GOOD + request([{"name": "x", "traceId": "1", "spanId": "2"}]),
            "line 2: span 'x': it has no `startTimeUnixNano`",
        ),
        (GOOD + request([otlp_span("x", 9, None, 0, 1, startTimeUnixNano="1e400")]), "`startTimeUnixNano` is '1e400'"),
        (GOOD + request([otlp_span("x", 9, None, 0, 1, endTimeUnixNano="9" * 30)]), "`endTimeUnixNano` is '999"),
        (GOOD + request(["x"]), "`spans` has text in place of an object"),
        (GOOD + '{"resourceSpans": {}}\n', "`resourceSpans` is an object in place of a list"),
        (GOOD + '{"data": [{"spans": [{"traceID": "1", "spanID": "2"}]}]}\n', "it has no `startTime`"),
    ],
)
def test_a_broken_part_is_named_and_the_rest_is_used(tmp_path: Path, content: str, says: str) -> None:
    """The file, the line, what was found and what was expected."""
    (tmp_path / "t.jsonl").write_text(content)
    (trace,), (problem,) = read(tmp_path)
    assert problem.startswith("t.jsonl line ")
    assert says in problem
    assert path_of(trace) == SHOP_PATH


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "t.json: it is empty; expected OTLP JSON lines (`resourceSpans`) or Jaeger JSON (`data`)"),
        (b"\n\n", "t.json: it is empty"),
        (b"\x89PNG\r\n\x1a\n" * 50, "t.json line 1: not JSON"),
        ("ä" * 10, "t.json line 1: not JSON, expecting value at column 1"),
        (b"a,b\n" * 2_000, "t.json line 1: not JSON, expecting value at column 1 (and 1999 more)"),
        (
            json.dumps({"data": [jaeger_trace()]}, indent=2)[:-20],
            "t.json line 10: not JSON, expecting ',' delimiter at column 10; expected",
        ),
        (b"{}", "t.json line 1: an empty object"),
        (b'{"resourceSpans": []}', "t.json: it has no span"),
    ],
)
def test_a_file_of_which_nothing_can_be_used_is_one_problem(tmp_path: Path, content: str | bytes, says: str) -> None:
    """However many lines it has."""
    (tmp_path / "t.json").write_bytes(content.encode() if isinstance(content, str) else content)
    traces, (problem,) = read(tmp_path / "t.json")
    assert traces == []
    assert problem.startswith(says)


def test_a_document_that_is_too_large_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than what is read at once is a problem of its own; the lines around it are used."""
    monkeypatch.setattr(json_documents, "MOST_BYTES", 2_000)
    (tmp_path / "t.jsonl").write_text(GOOD + " " * 9_000 + GOOD + request([otlp_span("late", 4, 1, 95, 99)]))
    (trace,), (problem,) = read(tmp_path)
    assert problem.startswith("t.jsonl line 2: not JSON, a document of more than")
    assert "late" in {span.name for span in trace.spans}


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([otlp_span("a", 1, None, 0, 0)], []),
        ([otlp_span("a", 1, None, 50, 0)], []),
        ([otlp_span("a", 1, None, 0, 9), otlp_span("b", 2, None, 0, 30)], [("b", 0, 30)]),
        ([otlp_span("a", 1, 7, 0, 9)], [("a", 0, 9)]),
        ([otlp_span("a", 1, None, 0, 9), otlp_span("b", 2, 3, 1, 8), otlp_span("c", 3, 2, 1, 8)], [("a", 0, 9)]),
        ([otlp_span("a", 1, None, 0, 9), otlp_span("b", 2, 1, 5, 2)], [("a", 0, 9)]),
        ([otlp_span("a", 1, None, 0, 9), otlp_span("a", 1, None, 0, 20)], [("a", 0, 20)]),
    ],
)
def test_strange_traces_have_an_answer(
    tmp_path: Path, spans: list[object], expected: list[tuple[str, int, int]]
) -> None:
    """No length, less than none, two roots, a missing parent, a circle beside the root, one id twice."""
    (tmp_path / "t.jsonl").write_text(request(spans))
    assert path_of(one(tmp_path)) == expected


def test_a_trace_that_is_a_circle_is_a_problem(tmp_path: Path) -> None:
    """There is no span to walk back from."""
    (tmp_path / "t.jsonl").write_text(request([otlp_span("a", 1, 2, 0, 9), otlp_span("b", 2, 1, 0, 9)]))
    traces, (problem,) = read(tmp_path)
    assert traces == []
    assert (
        problem == f"trace {1:032x}: every span's parent is another span of the trace; expected a span without a parent"
    )


def test_100_000_spans_of_one_trace_are_read(tmp_path: Path) -> None:
    """A chain of parents as deep as that, in one line."""
    deep = [otlp_span("deep", i, i - 1 if i > 1 else None, i, 400_000 - i) for i in range(1, 100_001)]
    (tmp_path / "t.jsonl").write_text(request(deep))
    path = start_of(one(tmp_path)).path
    assert len(path) == 199_999
    assert sum(piece.duration_us for piece in path) == 399_998


def test_the_newest_since_a_time_of_a_service(tmp_path: Path) -> None:
    """A query narrows by the root: service, start, number."""
    for n in range(1, 6):
        span = otlp_span("order", 1, None, n * 1_000_000, n * 1_000_000 + 5, traceId=f"{n:032x}")
        (tmp_path / f"{n}.jsonl").write_text(request([span], service="bank" if n == 3 else "shop"))

    def numbers(query: Query) -> list[int]:
        return sorted(int(trace.trace_id, 16) for trace in Files(tmp_path).traces(query, no_problem))

    assert numbers(Query()) == [1, 2, 3, 4, 5]
    assert numbers(Query(limit=2)) == [4, 5]
    assert numbers(Query(since_ns=T0 + 2_000_000_000, service="shop")) == [2, 4, 5]
    assert numbers(Query(service="bank", limit=9)) == [3]
    assert numbers(Query(since_ns=T0 + 2_000_000_000, until_ns=T0 + 4_000_000_000)) == [2, 3]


def test_no_file_to_read_is_an_error(tmp_path: Path) -> None:
    """A path that isn't there, a folder without traces."""
    with pytest.raises(SourceError, match="is no file and no folder"):
        list(Files(tmp_path / "none").traces(Query(), no_problem))
    with pytest.raises(SourceError, match=r"has no file that ends in \.json, \.jsonl or \.ndjson"):
        list(Files(tmp_path).traces(Query(), no_problem))
