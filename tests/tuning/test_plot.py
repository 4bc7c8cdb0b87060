"""The pictures: what is drawn, that they stand alone, and that their text has room."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstword.telemetry.record import DispatchStage, Outcome, Start, Task
from firstword.telemetry.vocabulary import SAMPLING_PERCENT
from firstword.tuning.files import Files
from firstword.tuning.palette import css, style_of
from firstword.tuning.plot import NothingToPlot, percentiles
from firstword.tuning.sampling import WEIGHTED
from firstword.tuning.sources import Query
from firstword.tuning.spans import Trace
from firstword.tuning.start import start_of
from firstword.tuning.svg import (
    LETTER,
    LETTERS,
    NARROWEST,
    Bar,
    Key,
    Picture,
    Section,
    Strip,
    duration,
    html,
    place,
    svg,
)
from firstword.tuning.waterfall import waterfall
from firstword.tuning.wording import date
from tests.properties import examples
from tests.telemetry.plans import Play, plays
from tests.tuning.simulated import FIRST_WORD, Script, ms, simulate
from tests.tuning.test_blame import a_start
from tests.tuning.written import T0, no_problem, otlp_span, request, write

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


def shapes(picture: Picture, name: str) -> list[tuple[str, float, float]]:
    """Shape, begin and end in ms of each bar of a row."""
    return [(bar.shape, bar.start / 1e3, (bar.start + bar.duration) / 1e3) for bar in strips(picture)[name].bars]


def test_a_waterfall_shows_phases_path_and_tasks(tmp_path: Path) -> None:
    """Each row in the colour of its name, waiting paler than computing, a line below what was on the path, slack dotted."""
    picture = picture_of(tmp_path, a_start(200))
    assert [section.heading for section in picture.sections] == ["", "Dispatch", "Tasks"]
    rows = strips(picture)
    assert list(rows) == [
        "",
        "critical path",
        "event loop",
        "dispatch",
        "account",
        "room",
        "components",
        "greeting",
        "playout",
    ]
    for name in ("account", "room", "components", "greeting", "playout", "event loop"):
        assert {bar.style for bar in rows[name].bars} <= {style_of(name), "critical"}
    assert [bar.inside for bar in rows[""].bars] == ["dispatch", "connect"]
    assert picture.mark == (390_000, "first word @ 390 ms")
    on_path = [bar for bar in rows["critical path"].bars if bar.shape == "full"]
    assert (on_path[0].start, on_path[-1].start + on_path[-1].duration) == (0, 390_000)
    assert {bar.style for bar in on_path} == {
        style_of(name) for name in ("dispatch", "account", "event loop", "greeting", "playout")
    }
    assert [key.meaning.split(",")[0].split(":")[0] for key in picture.legend] == [
        "@ began",
        "Computed",
        "Waited",
        "On the critical path",
        "Slack",
    ]


# room      rr++....    computes for 20 of its 80 ms, and may take 70 more
# account   +++++++++++++++
# playout                  +++++
def test_waiting_computing_and_slack_of_a_task(tmp_path: Path) -> None:
    """Paler from its begin to its end, full where it held the loop, dotted as far as it could have gone on."""
    scripts = (
        Script("room", (), ms((20, 60))),
        Script("account", (), ms((0, 150))),
        Script(FIRST_WORD, ("account", "room"), ms((0, 50))),
    )
    picture = picture_of(tmp_path, simulate(scripts, in_order=False))
    pale, full, slack = shapes(picture, "room")
    assert pale == ("pale", 0, pytest.approx(80, abs=0.1))
    assert full == ("full", 0, pytest.approx(20, abs=0.1))
    assert slack[0] == "slack"
    assert slack[1:] == pytest.approx((80, 170), abs=0.1)  # the account's first step waits for the room's
    assert [shape for shape, _, _ in shapes(picture, "account")] == ["pale", "under"]


def test_what_comes_after_the_first_word_is_drawn_behind_its_line(tmp_path: Path) -> None:
    """Deferred tasks have rows of their own; one that goes on for long is marked at the edge, with its whole time."""
    start = a_start(200)
    later = Task("analytics", ready=start.end, begin=start.end, end=start.end + 90_000_000_000, deferred=True)
    picture = picture_of(tmp_path, replace(start, tasks=(*start.tasks, later)))
    assert [section.heading for section in picture.sections] == ["", "Dispatch", "Tasks", "After the first word"]
    (bar,) = strips(picture)["analytics"].bars
    assert bar.start > 390_000
    assert picture.length == 780_000
    assert "90.000 s" in strips(picture)["analytics"].note
    assert svg(picture).count('class="beyond"') == 1
    assert picture.legend[-1] == Key("Arrow at the edge: it goes on")
    assert "beyond" not in svg(picture_of(tmp_path / "other", start)).partition("</style>")[2]


def test_a_task_that_nobody_needed_and_an_absent_caller_look_otherwise(tmp_path: Path) -> None:
    """One has rows under a heading of its own, the other no colour and a word in the legend."""
    scripts = (
        Script("caller", (), ms((0, 20)), for_caller=True),
        Script("memory", (), ms((0, 2000))),
        Script(FIRST_WORD, ("caller",), ms((0, 50))),
    )
    start = simulate(scripts, in_order=False, joined=500_000_000)
    picture = picture_of(tmp_path, replace(start, ready=start.end))
    (section,) = (each for each in picture.sections if each.heading == "Not needed, still running")
    assert [row.name for row in section.rows] == ["memory"]
    absent = [bar for bar in strips(picture)["critical path"].bars if bar.style == "absent"]
    assert len(absent) == 1
    assert not any(
        bar.shape == "under" and bar.start == absent[0].start for bar in strips(picture)["critical path"].bars
    )
    assert Key("No caller was there yet", "absent") in picture.legend


def test_a_stage_of_the_dispatch_says_why(tmp_path: Path) -> None:
    """In a row of its own; hovering explains it."""
    start = a_start(200)
    border = start.start + 30_000_000
    stages = DispatchStage("offer", start.start, border), DispatchStage("process_start", border, start.first_step)
    picture = picture_of(tmp_path, replace(start, dispatch_stages=stages))
    rows = {row.name: row for section in picture.sections if section.heading == "Dispatch" for row in section.rows}
    assert {name: row.note for name, row in rows.items()} == {
        "offer": "@ 0 ms + 30 ms",
        "process_start": "@ 30 ms + 70 ms",
    }
    assert "no idle process" in rows["process_start"].bars[0].told


def test_a_name_has_one_colour_in_all_pictures(tmp_path: Path) -> None:
    """Of one session and of many, whatever else is in them; the tasks that callers wait for longest differ."""
    one = picture_of(tmp_path / "one", a_start(200))
    many = percentiles(traces(tmp_path / "many", *(a_start(20 + 20 * number) for number in range(10)))).picture
    in_many = {bar.told.partition(":")[0]: bar.style for row in many.sections[0].rows for bar in row.bars}
    assert in_many == {name: style_of(name) for name in in_many}
    assert {"account", "playout", "dispatch", "event loop"} <= in_many.keys()
    assert strips(one)["account"].bars[0].style == in_many["account"]
    names = [
        "playout",
        "account",
        "room",
        "session",
        "voice",
        "caller",
        "greeting",
        "components",
        "resumption",
        "analytics",
        "identity",
    ]
    assert len({style_of(name) for name in names}) == len(names)
    assert ".n" in css([style_of("account")])


def test_a_trace_of_others_is_drawn_whole(tmp_path: Path) -> None:
    """By service, also what ran beside the path; of more than fit it says how many are left out."""
    (tmp_path / "t.jsonl").write_text(
        request([otlp_span("main", 1, None, 0, 500), *(otlp_span(f"get {n}", n + 2, 1, 0, 100 * n) for n in (1, 2, 3))])
        + request([otlp_span("look up", 9, 4, 10, 90)], "store")
    )
    picture = picture_of(tmp_path)
    drawn = {section.heading: [row.name for row in section.rows] for section in picture.sections}
    shop = ["main", "get 3", "get 2", "get 1"]
    assert drawn == {"": ["critical path"], "Service shop": shop, "Service store": ["look up"]}
    assert [shape for shape, _, _ in shapes(picture, "get 1")] == ["pale"]
    assert [shape for shape, _, _ in shapes(picture, "get 3")] == ["pale", "full", "under"]
    assert picture.title == "main: 0.5 ms"
    assert picture.lines[0] == f"{date(T0)}, main"
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
    assert picture.legend[1] == Key("account 190 ms", style_of("account"))
    with pytest.raises(NothingToPlot):
        percentiles([])


def test_percentile_sessions_of_a_sampled_store_are_weighted(tmp_path: Path) -> None:
    """One in ten of the ordinary starts was kept, so three of them are thirty of 32: the two slow ones are p95 and p99."""
    sampled = {SAMPLING_PERCENT: 10.0}
    starts = [replace(a_start(account), attributes=sampled) for account in (200, 300, 400, 2000, 3000)]
    drawn = percentiles(traces(tmp_path, *starts))
    assert list(strips(drawn.picture)) == ["p10, p20, p30", "p40, p50, p60", "p70, p80, p90", "p95", "p99"]
    # (10 * (200 + 300 + 400) + 2000 + 3000) / 32
    assert drawn.picture.legend[1] == Key("account 437 ms", style_of("account"))
    assert drawn.weighted
    assert WEIGHTED in drawn.picture.lines


def test_percentiles_of_starts_without_a_first_word(tmp_path: Path) -> None:
    """Where there are only such; the title says so."""
    good = a_start(200)
    failed = replace(good, outcome=Outcome.FAILED, last="account", end=good.start + 300_000_000, tasks=good.tasks[:2])
    picture = percentiles(traces(tmp_path, failed)).picture
    assert picture.title == "1 session without a first word"


@settings(max_examples=examples(25))
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


@pytest.mark.parametrize("letters", [20, 40, 43, 49, 120])
def test_a_strong_label_has_room_on_a_phone(letters: int) -> None:
    """A strong letter is wider than others. In DejaVu Sans, the widest of the fonts, one has 7.9 pixels."""
    row = Strip(" ".join(["line.py:12"] * 20)[:letters], "+ 28 ms", (Bar(200, 10, "rest", ""),))
    picture = parsed(Picture("", (), (), (Section("", (row,)),), 1000))
    labels = [text for text in picture.iter(f"{SVG}text") if text.get("class") == "name"]
    assert labels
    for label in labels:
        note = "".join(part.text or "" for part in label)
        assert 7.9 * len(label.text or "") + LETTER * len(note) <= NARROWEST + LETTER


shares = st.floats(0, 1)


@given(letters=st.integers(0, LETTERS), ends=st.tuples(shares, shares))
def test_no_label_is_cut_or_lies_on_its_bar(letters: int, ends: tuple[float, float]) -> None:
    """On the narrowest screen, and so on any wider one: there the same letters take a smaller share."""
    first, last = min(ends), max(ends)
    stands = place(letters, first, last)
    for pixels in (NARROWEST, 800, 1600):
        wide = letters * LETTER / pixels
        begin = stands.at - {"start": 0, "middle": wide / 2, "end": wide}[stands.anchor]
        fits = letters * LETTER <= NARROWEST
        assert begin >= -1e-9
        assert begin + wide <= 1 + 1e-9 or not fits
        if not stands.beside and letters <= 34:  # a longer one leaves no choice
            assert begin <= last, "it begins at its bars or before"
            assert begin + wide >= first - 1e-9, "and ends there or behind"
        if stands.beside:
            assert begin >= last or begin + wide <= first + 1e-9


@given(name=st.text(max_size=200))
def test_no_name_breaks_a_picture(name: str) -> None:
    """Whatever a trace of others calls its spans."""
    bars = Bar(0, 10, style_of(name), name, inside=name), Bar(900, 200, style_of(name), name, "slack")
    picture = Picture(name, (name,), (Key(name, "rest"),), (Section(name, (Strip(name, name, bars),)),), 1000)
    ElementTree.fromstring(svg(picture))


@pytest.mark.parametrize(
    ("us", "shown"),
    [(0, "0 ms"), (5, "5 µs"), (250, "0.2 ms"), (9_940, "9.9 ms"), (56_000, "56 ms"), (999_600, "1.000 s")],
)
def test_times_are_short(us: float, shown: str) -> None:
    """Three figures or so."""
    assert duration(us) == shown
