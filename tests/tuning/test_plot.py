"""The pictures: what is drawn, that they stand alone, and that their text has room."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstword.telemetry.record import Outcome, Start, Task
from firstword.telemetry.vocabulary import SAMPLING_PERCENT
from firstword.tuning.drawing import LETTERS, Bar, Picture, Section, Strip, duration, html, svg
from firstword.tuning.files import Files
from firstword.tuning.plot import NothingToPlot, percentiles, waterfall
from firstword.tuning.sampling import WEIGHTED
from firstword.tuning.sources import Query
from firstword.tuning.spans import Trace
from firstword.tuning.start import start_of
from tests.properties import examples
from tests.telemetry.plans import Play, plays
from tests.tuning.simulated import FIRST_WORD, Script, ms, simulate
from tests.tuning.test_blame import a_start
from tests.tuning.written import no_problem, otlp_span, request, write

SVG = "{http://www.w3.org/2000/svg}"


def traces(folder: Path, *starts: Start) -> list[Trace]:
    """The starts' traces, through the worker's writer and the reader."""
    if starts:
        write(folder, *starts)
    return list(Files(folder).traces(Query(), no_problem))


def picture_of(folder: Path, *starts: Start) -> Picture:
    (trace,) = traces(folder, *starts)
    return waterfall(start_of(trace), trace.spans)


def strips(picture: Picture) -> dict[str, Strip]:
    return {row.name: row for section in picture.sections for row in section.rows}


def parsed(picture: Picture) -> ElementTree.Element:
    return ElementTree.fromstring(svg(picture))


def test_a_waterfall_shows_phases_path_and_tasks(tmp_path: Path) -> None:
    """The path in one colour, on the tasks that it goes through; the first word is a line."""
    picture = picture_of(tmp_path, a_start(200))
    rows = strips(picture)
    assert list(rows) == [
        "phases",
        "critical path",
        "dispatch",
        "event loop",
        "account",
        "room",
        "components",
        "greeting",
        "playout",
    ]
    styles = {name: {bar.style for bar in row.bars} for name, row in rows.items()}
    assert styles["critical path"] == styles["event loop"] == {"critical"}
    assert styles["account"] == {"beside", "critical"}
    assert styles["components"] == {"beside"}
    assert picture.mark == (390_000, "first word @ 390 ms")
    assert [style for style, _ in picture.legend] == ["critical", "beside"]
    path = sorted((bar.start, bar.start + bar.duration) for bar in rows["critical path"].bars)
    assert (path[0][0], path[-1][1]) == (0, 390_000)


def test_what_comes_after_the_first_word_is_drawn_behind_its_line(tmp_path: Path) -> None:
    """Deferred tasks have rows of their own; one that goes on for long does not push the rest together."""
    start = a_start(200)
    later = Task("analytics", ready=start.end, begin=start.end, end=start.end + 90_000_000_000, deferred=True)
    picture = picture_of(tmp_path, replace(start, tasks=(*start.tasks, later)))
    assert [section.heading for section in picture.sections] == ["", "Tasks", "After the first word"]
    (bar,) = strips(picture)["analytics"].bars
    assert bar.style == "after"
    assert bar.start > 390_000
    assert picture.length == 780_000
    assert "90.000 s" in strips(picture)["analytics"].note


def test_a_task_that_nobody_needed_and_an_absent_caller_look_otherwise(tmp_path: Path) -> None:
    """Both have a word in the legend."""
    scripts = (
        Script("caller", (), ms((0, 20)), for_caller=True),
        Script("memory", (), ms((0, 2000))),
        Script(FIRST_WORD, ("caller",), ms((0, 50))),
    )
    start = simulate(scripts, in_order=False, joined=500_000_000)
    picture = picture_of(tmp_path, replace(start, ready=start.end))
    assert {bar.style for bar in strips(picture)["memory"].bars} == {"detached"}
    assert {bar.style for bar in strips(picture)["critical path"].bars} == {"absent", "critical"}
    assert {style for style, _ in picture.legend} >= {"detached", "absent"}


def test_a_trace_of_others_is_drawn_whole(tmp_path: Path) -> None:
    """By service, also what ran beside the path; of more than fit it says how many are left out."""
    (tmp_path / "t.jsonl").write_text(
        request([otlp_span("main", 1, None, 0, 500), *(otlp_span(f"get {n}", n + 2, 1, 0, 100 * n) for n in (1, 2, 3))])
        + request([otlp_span("look up", 9, 4, 10, 90)], "store")
    )
    picture = picture_of(tmp_path)
    drawn = {section.heading: [row.name for row in section.rows] for section in picture.sections}
    assert drawn == {"": ["critical path"], "shop": ["main", "get 3", "get 2", "get 1"], "store": ["look up"]}
    styles = {name: [bar.style for bar in row.bars] for name, row in strips(picture).items()}
    assert (styles["get 1"], styles["get 3"]) == (["beside"], ["beside", "critical"])
    many = [otlp_span(f"s{n}", n + 2, 1, 0, n) for n in range(1, 101)]
    (tmp_path / "t.jsonl").write_text(request([otlp_span("main", 1, None, 0, 500), *many]))
    assert picture_of(tmp_path).sections[-1].heading == "Not drawn: 21 shorter spans"


def test_a_trace_of_others_shows_the_spans_on_its_path(tmp_path: Path) -> None:
    """Names that are long are broken, and it says that the path is guessed."""
    name = "GET /" + "/".join(f"part{n}" for n in range(30))
    (tmp_path / "t.jsonl").write_text(request([otlp_span("order", 1, None, 0, 9), otlp_span(name, 2, 1, 2, 8)]))
    picture = picture_of(tmp_path)
    assert {"order", name} <= strips(picture).keys()
    assert any("guessed" in line for line in picture.lines)
    texts = [text.text or "" for text in parsed(picture).iter(f"{SVG}text")]
    assert name.replace(" ", "") in "".join(texts).replace(" ", "")


def test_percentile_sessions_are_stacked_by_what_they_waited_for(tmp_path: Path) -> None:
    """Of ten sessions the p50 one is the fifth; each bar is as long as its session waited."""
    starts = [a_start(100 + 20 * number) for number in range(10)]
    found = traces(tmp_path, *starts)
    drawn = percentiles(found)
    picture, ids = drawn.picture, drawn.trace_ids
    assert list(strips(picture)) == ["p10", "p20", "p30", "p40", "p50", "p60", "p70", "p80", "p90", "p95, p99"]
    assert len(ids) == 10
    for row, start in zip(strips(picture).values(), starts, strict=True):
        assert sum(bar.duration for bar in row.bars) == pytest.approx((start.end - start.start) / 1000, abs=20)
    assert picture.legend[0] == ("s0", "account: 190 ms a session")
    with pytest.raises(NothingToPlot):
        percentiles([])


def test_percentile_sessions_of_a_sampled_store_are_weighted(tmp_path: Path) -> None:
    """One in ten of the ordinary starts was kept, so three of them are thirty of 32: the two slow ones are p95 and p99."""
    sampled = {SAMPLING_PERCENT: 10.0}
    starts = [replace(a_start(account), attributes=sampled) for account in (200, 300, 400, 2000, 3000)]
    drawn = percentiles(traces(tmp_path, *starts))
    assert list(strips(drawn.picture)) == ["p10, p20, p30", "p40, p50, p60", "p70, p80, p90", "p95", "p99"]
    # (10 * (200 + 300 + 400) + 2000 + 3000) / 32
    assert drawn.picture.legend[0] == ("s0", "account: 437 ms a session")
    assert drawn.weighted
    assert WEIGHTED in drawn.picture.lines


def test_percentiles_of_starts_without_a_first_word(tmp_path: Path) -> None:
    """Where there are only such; the title says so."""
    good = a_start(200)
    failed = replace(good, outcome=Outcome.FAILED, last="account", end=good.start + 300_000_000, tasks=good.tasks[:2])
    picture = percentiles(traces(tmp_path, failed)).picture
    assert picture.title == "1 session without a first word"


@settings(max_examples=examples(25), deadline=None)
@given(play=plays())
def test_any_start_becomes_a_picture_that_stands_alone(tmp_path_factory: pytest.TempPathFactory, play: Play) -> None:
    """Well-formed, nothing inside that is fetched or run, bars inside the axis, lines of text no longer than fits."""
    picture = picture_of(tmp_path_factory.mktemp("traces"), play.record())
    root = parsed(picture)
    page = html(picture)
    # the namespace is a name, not an address
    assert not re.search(r"https?://|src=|href=|<script|url\(|@import", page.replace("http://www.w3.org/2000/svg", ""))
    assert "prefers-color-scheme:dark" in page
    for rect in root.iter(f"{SVG}rect"):
        x, width = rect.get("x", "0"), rect.get("width", "0")
        if x.endswith("%"):
            assert 0 <= float(x[:-1]) <= float(x[:-1]) + float(width[:-1]) <= 100.01
    for text in root.iter(f"{SVG}text"):
        assert len("".join(text.itertext())) <= LETTERS + 2


@given(name=st.text(max_size=200))
def test_no_name_breaks_a_picture(name: str) -> None:
    """Whatever a trace of others calls its spans."""
    bar = Bar(0, 10, "beside", name)
    picture = Picture(name, (name,), (("beside", name),), (Section(name, (Strip(name, name, (bar,)),)),), 1000)
    ElementTree.fromstring(svg(picture))


@pytest.mark.parametrize(
    ("us", "shown"),
    [(0, "0 ms"), (5, "5 µs"), (250, "0.2 ms"), (9_940, "9.9 ms"), (56_000, "56 ms"), (999_600, "1.000 s")],
)
def test_times_are_short(us: float, shown: str) -> None:
    """Three figures or so."""
    assert duration(us) == shown
