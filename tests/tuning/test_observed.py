"""Observed starts, read: by line of source where a declared one is by task, and each session once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.contract import violations
from firstword.rehearsal.result import read_starts
from firstword.telemetry import vocabulary as words
from firstword.telemetry.source_lines import SourceLine
from firstword.tuning import sessions
from firstword.tuning.blame import blame
from firstword.tuning.costs import Among, Kind, costs_of
from firstword.tuning.files import Files
from firstword.tuning.notes import Note, PassedOver, ignore
from firstword.tuning.observation import observation
from firstword.tuning.sampling import countable
from firstword.tuning.sources import Query
from firstword.tuning.spans import Trace
from firstword.tuning.start import Method, start_of
from firstword.tuning.waterfall import waterfall
from firstword.tuning.whatif import NothingToPlay, predict
from tests.tuning.observed import CONNECT, line, observed_start
from tests.tuning.test_blame import a_start
from tests.tuning.written import no_problem, write

ON_ENTER = SourceLine("my_agent.py", 3, "Assistant.on_enter")


def read(folder: Path, *starts: str) -> list[Trace]:
    """The traces of these requests, through the reader."""
    (folder / "observed.jsonl").write_text("".join(starts))
    return sorted(Files(folder).traces(Query(), no_problem), key=lambda trace: trace.trace_id)


def test_pieces_are_of_lines_and_kinds(tmp_path: Path) -> None:
    """The path covers the start; what has no line has a kind, and the dispatch has neither."""
    (trace,) = read(tmp_path, observed_start())
    start = start_of(trace)
    assert (start.method, start.ttfw_s, start.tasks) == (Method.OBSERVED, 0.83, ())
    assert [(piece.name, piece.kind, piece.source) for piece in start.path] == [
        ("dispatch", None, None),
        ("entrypoint", "computing", SourceLine("my_agent.py", 6, "entrypoint")),
        ("entrypoint", "network", SourceLine("my_agent.py", 7, "entrypoint")),
        ("Assistant.on_enter", "computing", ON_ENTER),
        ("Assistant.on_enter", "network", ON_ENTER),
        ("event loop", "event loop", None),
        ("Assistant.on_enter", "network", ON_ENTER),
        ("outside", "outside", None),
    ]
    assert start.path[5].held_by == "LLM.prewarm"
    assert violations(trace) == []


def test_the_contract_of_an_observed_start_is_checked(tmp_path: Path) -> None:
    """An absolute file, a piece of no kind, and a method that the pieces contradict are said."""
    connect = (*CONNECT[:1], ("entrypoint", 100, line(words.TIMER, 6, file="/srv/my_agent.py")))
    (trace,) = read(tmp_path, observed_start(connect=connect, greet=(("say", 600, {}),)))
    assert violations(trace) == [
        "path: entrypoint is of /srv/my_agent.py:6 entrypoint, expected FILE:LINE FUNCTION with a relative file",
        "path: say is of no kind",
    ]
    (trace,) = read(tmp_path, observed_start(root={words.METHOD: "guessed"}))
    assert "path: is guessed" in violations(trace)


@pytest.mark.parametrize(
    "told",
    [
        {words.LINE: 0},
        {words.LINE: -4},
        {words.LINE: True},
        {words.LINE: "7"},
        {words.LINE: 10**12},
        {words.FILE: ""},
        {words.FILE: 7},
    ],
)
def test_a_line_that_is_none_is_left_out(tmp_path: Path, told: dict[str, Any]) -> None:
    """A trace comes from anybody; the piece stays."""
    greet = (("entrypoint", 100, {**line(words.TIMER, 3), **told, words.KIND: "magic"}),)
    (trace,) = read(tmp_path, observed_start(greet=greet))
    assert [(piece.kind, piece.source) for piece in start_of(trace).path][-1:] == [(None, None)]


def test_a_start_that_lost_a_piece_is_guessed(tmp_path: Path) -> None:
    """As a declared one is."""
    (trace,) = read(tmp_path, observed_start())
    kept = tuple(span for span in trace.spans if span.name != "critical event loop")
    assert start_of(Trace(trace.trace_id, kept, trace.root)).method is Method.GUESSED


def test_lines_are_blamed_and_what_held_the_loop(tmp_path: Path) -> None:
    """Without drag, which needs a plan; the rows add up to what the callers waited."""
    found = blame(map(costs_of, read(tmp_path, observed_start(1), observed_start(2))))
    rows = {(row.cause.kind, str(row.cause)): (row.drag, round(row.path, 3)) for row in found.rows}
    assert rows == {
        (Kind.LINE, "my_agent.py:3 Assistant.on_enter"): (None, 0.583),
        (Kind.DISPATCH, "dispatch"): (None, 0.1),
        (Kind.LINE, "my_agent.py:7 entrypoint"): (None, 0.08),
        (Kind.LINE, "outside"): (None, 0.03),
        (Kind.LINE, "my_agent.py:6 entrypoint"): (None, 0.02),
        (Kind.EVENT_LOOP, "event loop, held by LLM.prewarm"): (None, 0.017),
    }
    assert (found.among, found.methods) == (Among.HEARD, {Method.OBSERVED})


def test_a_function_that_is_called_as_a_piece_of_ours_is_a_line(tmp_path: Path) -> None:
    """`dispatch` may be a function of the user's."""
    greet = (("dispatch", 100, line(words.TIMER, 9, "dispatch")),)
    (trace,) = read(tmp_path, observed_start(greet=greet))
    kinds = [(waited.cause.kind, waited.us) for waited in costs_of(trace).path]
    assert (Kind.LINE, 100_000) in kinds
    assert [row.name for section in waterfall(start_of(trace)).sections for row in section.rows] == [
        *("", "critical path", "dispatch"),
        *("my_agent.py:6 entrypoint", "my_agent.py:7 entrypoint", "my_agent.py:9 dispatch"),
    ]


def test_a_waterfall_has_a_row_for_each_line(tmp_path: Path) -> None:
    """It says that the path was observed."""
    (trace,) = read(tmp_path, observed_start())
    picture = waterfall(start_of(trace), trace.spans)
    (lines,) = (section for section in picture.sections if section.heading == "Lines of source")
    assert [(row.name, sum(bar.shape == "under" for bar in row.bars)) for row in lines.rows] == [
        ("my_agent.py:6 entrypoint", 1),
        ("my_agent.py:7 entrypoint", 1),
        ("my_agent.py:3 Assistant.on_enter", 3),
    ]
    assert [bar.shape for bar in lines.rows[2].bars] == ["full", "pale", "pale", "under", "under", "under"]
    assert "Path observed on the event loop" in picture.lines
    assert lines.rows[2].bars[1].told == "my_agent.py:3 Assistant.on_enter, network: @ 203 ms + 400 ms"


def test_it_counts_in_statistics(tmp_path: Path) -> None:
    """By its time to first word; it has no tasks."""
    (trace,) = read(tmp_path, observed_start())
    seen = observation(trace)
    assert seen is not None
    assert (seen.ttfw, dict(seen.tasks), seen.method) == (0.83, {}, Method.OBSERVED)
    with pytest.raises(NothingToPlay, match="no plan"):
        predict([trace], [])


def test_a_session_that_is_declared_too_counts_once(tmp_path: Path) -> None:
    """By its declared start, in statistics and where a room names it; its own id shows the observed one."""
    (declared,) = write(tmp_path, a_start(200))
    both = read(tmp_path, observed_start(7, root={words.DECLARED: declared}))
    notes: list[Note] = []
    assert [trace.trace_id for trace in countable(both, notes.append)] == [declared]
    assert notes == [PassedOver("", "observed starts beside their declared ones", 1)]
    source = Files(tmp_path)
    assert sessions.median(source, Query(), ignore).trace.trace_id == declared
    assert sessions.named(source, f"{7:032x}", Query(), ignore).trace.is_second
    assert read_starts(tmp_path).keys() == set()  # the declared one has no room
    (tmp_path / "other.jsonl").write_text(observed_start(8, root={words.ROOM_SID: "RM_7"}))
    read(tmp_path, observed_start(7, root={words.DECLARED: f"{8:032x}"}))
    assert sessions.named(source, "RM_7", Query(), ignore).trace.trace_id == f"{8:032x}"
    assert read_starts(tmp_path)["RM_7"].trace_id == f"{8:032x}"
