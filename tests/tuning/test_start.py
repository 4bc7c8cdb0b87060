"""Starts through the real writer, to disk and back: the path that is read is the path that was computed."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from firstword.telemetry.critical_path import PathPiece, analyse
from firstword.telemetry.plan import Plan
from firstword.telemetry.record import Outcome, Start
from firstword.telemetry.run import waited_for
from firstword.telemetry.testing import StartupTest
from firstword.telemetry.vocabulary import CONNECT, DISPATCH, GREET, LOOP_HOLDS, WAIT
from firstword.tuning.chain import chain_of
from firstword.tuning.files import Files
from firstword.tuning.sources import Query
from firstword.tuning.spans import Trace, trace_of
from firstword.tuning.start import Method, RecordedStart, start_of
from tests.properties import examples
from tests.telemetry.plans import Play, plays
from tests.tuning.written import no_problem, write

few = settings(
    max_examples=examples(100),
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def read(folder: Path) -> dict[str, RecordedStart]:
    """The starts below a folder, in which nothing may be wrong."""
    return {trace.trace_id: start_of(trace) for trace in Files(folder).traces(Query(), no_problem)}


def name(piece: PathPiece) -> str:
    """What a piece read back is called."""
    return piece.name


def us(start: Start, instant: int) -> float:
    """µs from the root's start."""
    return (instant - start.start) / 1000


def a_plan() -> Plan:
    """room 100 ms; caller after it; account 270 ms; greeting 80 ms after account; playout 60 ms; components not needed at once."""
    plan = Plan("session.startup")

    @plan.task(closes=CONNECT)
    async def room() -> str:
        await asyncio.sleep(0.100)
        return "room"

    @plan.task(closes=WAIT)
    async def caller(room: str) -> str:
        await asyncio.sleep(0.040)
        return "caller"

    @plan.task()
    async def account() -> str:
        await asyncio.sleep(0.270)
        return "Ada"

    @plan.task(readies=True)
    async def session(room: str) -> str:
        await asyncio.sleep(0.900)
        return "session"

    @plan.task(deferred=True)
    async def analytics(account: str) -> None:
        await asyncio.sleep(0.135)

    @plan.task()
    async def greeting(account: str) -> str:
        await asyncio.sleep(0.080)
        return "Hello"

    @plan.first_word
    async def playout(greeting: str, caller: str) -> None:
        await asyncio.sleep(0.060)

    return plan


@pytest.mark.parametrize("in_order", [False, True])
def test_a_start_comes_back_as_it_was(startup_test: StartupTest, tmp_path: Path, in_order: bool) -> None:
    """Path within 1 µs a piece, phases, tasks with their needs, order and figures, times, from the lines on disk."""
    record = startup_test.run(a_plan(), dispatch=0.05, in_order=in_order).start
    (trace_id,) = write(tmp_path, record)
    start = read(tmp_path)[trace_id]
    analysis = analyse(record)
    runs = [(entry.name, entry.start_us, entry.duration_us) for entry in reversed(chain_of(start))]
    assert [run[0] for run in runs] == [name(piece) for piece in analysis.pieces]
    for (_, begin, length), piece in zip(runs, analysis.pieces, strict=True):
        assert abs(begin - us(record, piece.start)) <= 1
        assert abs(begin + length - us(record, piece.end)) <= 1
    assert start.method is Method.EXACT
    assert start.ttfw_s == record.ttfw
    assert [phase.name for phase in start.phases] == [DISPATCH, CONNECT, WAIT, GREET]
    tasks = {task.name: task for task in start.tasks}
    assert list(tasks) == sorted(tasks, key=lambda task: tasks[task].start_us)
    assert set(tasks) == {task.name for task in record.tasks}
    for task in record.tasks:
        traced, figures = tasks[task.name], analysis.figures[task.name]
        assert traced.needs == task.needs
        assert traced.order == tuple(edge for edge in task.edges if edge not in task.needs)
        assert (traced.critical, traced.slack, traced.drag) == (figures.critical, figures.slack, figures.drag)
        assert (traced.contention, traced.loop_time) == (figures.contention, figures.loop_time)
        assert traced.ready_delay == figures.ready_delay
        assert traced.steps == tuple(
            (traced.start_us + (step.start - task.begin) // 1000, (step.end - step.start) // 1000)
            for step in task.steps
            if step.start < max(record.end, task.end)
        )
    assert tasks["analytics"].deferred
    assert tasks["session"].detached is not in_order
    assert all(piece.task_span_id == tasks[piece.task].span_id for piece in start.path if piece.task)


@few
@given(plays())
def test_any_start_comes_back(play: Play) -> None:
    """Whatever its outcome: the pieces cover the root, and each is what was computed for its middle."""
    record = play.record()
    with TemporaryDirectory() as folder:
        write(Path(folder), record)
        (start,) = read(Path(folder)).values()
    assert start.method is Method.EXACT
    assert start.outcome == record.outcome
    assert abs(start.duration_us - us(record, record.end)) <= 1
    model = analyse(record).pieces
    for piece in start.path:
        # what vanishes in rounding joins a neighbour
        middle = record.start + (piece.start_us * 1000 + piece.duration_us * 500)
        near = [p for p in model if p.start <= middle + 4_000 and p.end >= middle - 4_000]
        assert piece.name in {name(p) for p in near}
    # pieces are whole microseconds: one that is shorter is not written
    covered = sum(piece.duration_us for piece in start.path)
    assert start.duration_us - 6 * len(model) <= covered <= start.duration_us


def test_a_start_without_a_first_word_comes_back(startup_test: StartupTest, tmp_path: Path) -> None:
    """One that ends before it is exact too, up to what was being done then, and has no TTFW."""
    record = startup_test.run(a_plan()).start
    cut = replace(record, outcome=Outcome.ABANDONED, end=record.start + 200_000_000, last=None, ready=None)
    tasks = tuple(t for t in cut.tasks if t.begin <= cut.end)
    phases = tuple(replace(p, end=min(p.end, cut.end)) for p in cut.phases if p.start < cut.end)
    write(tmp_path, replace(cut, tasks=tasks, phases=phases))
    (start,) = read(tmp_path).values()
    assert (start.outcome, start.ttfw_s, start.method) == ("abandoned", None, Method.EXACT)
    assert start.path[-1].name == "account"


def test_an_absent_caller_is_on_the_path_by_that_name(startup_test: StartupTest, tmp_path: Path) -> None:
    """From the root's start to the joining; it is no task's."""
    plan = Plan("session.startup")

    @plan.task(closes=CONNECT)
    async def room() -> str:
        await asyncio.sleep(0.1)
        return "room"

    @plan.task(closes=WAIT)
    async def caller(room: str) -> str:
        await asyncio.sleep(1.9)
        waited_for(startup_test.loop.clock())
        return "caller"

    @plan.first_word
    async def playout(caller: str) -> None:
        await asyncio.sleep(0.3)

    write(tmp_path, startup_test.run(plan, joined=2.0).start)
    (start,) = read(tmp_path).values()
    assert start.dispatch == "ahead"
    assert [(entry.name, entry.task and entry.task.name) for entry in chain_of(start)] == [
        ("playout", "playout"),
        ("absent caller", None),
        ("room", "room"),
    ]


def test_a_start_that_lost_spans_is_not_called_exact(startup_test: StartupTest, tmp_path: Path) -> None:
    """Without one of its `critical` spans the path is guessed, and covers the root all the same."""
    write(tmp_path, startup_test.run(a_plan()).start)
    (trace,) = Files(tmp_path).traces(Query(), no_problem)
    kept = [span for span in trace.spans if span.name != "critical account"]
    start = start_of(trace_of(kept))
    assert len(kept) < len(trace.spans)
    assert start.method is Method.GUESSED
    assert start.ttfw_s is not None
    assert sum(piece.duration_us for piece in start.path) == start.duration_us


def test_links_in_a_circle_change_nothing(startup_test: StartupTest, tmp_path: Path) -> None:
    """The path is read, not walked over links; needs in a circle are shown and not followed."""
    write(tmp_path, startup_test.run(a_plan()).start)
    (trace,) = Files(tmp_path).traces(Query(), no_problem)
    exact = start_of(trace)
    links = {span.name: span.links for span in trace.spans}
    turned = [
        replace(span, links=links["greeting"], attributes={**span.attributes, "startup.needs": ("playout", "greeting")})
        if span.name in ("account", "greeting")
        else span
        for span in trace.spans
    ]
    start = start_of(Trace(trace.trace_id, tuple(turned), trace.root))
    assert start.path == exact.path
    assert [entry.name for entry in chain_of(start)] == [entry.name for entry in chain_of(exact)]


def test_what_was_not_waited_for_hangs_below_the_first_that_needed_it(
    startup_test: StartupTest, tmp_path: Path
) -> None:
    """The chain from the first word back; what is on the path, or was shown, is not shown again."""
    write(tmp_path, startup_test.run(a_plan()).start)
    (start,) = read(tmp_path).values()
    assert [(entry.name, [task.name for task in entry.spared]) for entry in chain_of(start)] == [
        ("playout", ["caller"]),
        ("greeting", []),
        ("account", []),
    ]


def test_what_a_library_left_running_in_a_task_is_told_by_its_request(
    startup_test: StartupTest, tmp_path: Path
) -> None:
    """Without query and host, which differ; what ended in time is not left, and an address nobody can read is none."""
    write(tmp_path, startup_test.run(a_plan()).start)
    (trace,) = Files(tmp_path).traces(Query(), no_problem)
    room = next(span for span in trace.spans if span.name == "room")
    inside = [
        replace(
            room, span_id=f"{number:016x}", parent_id=room.span_id, name=name, attributes=told, end_ns=end, links=()
        )
        for number, (name, told, end) in enumerate(
            [
                ("GET", {"http.url": "ws://voice.example:80/v1/speak?model=a"}, room.end_ns + 5_000),
                ("GET", {"url.full": "https://llm.example/v1/models"}, room.end_ns + 6_000),
                ("GET", {"http.url": "http://[half/v1"}, room.end_ns + 7_000),
                ("connect", {}, room.end_ns + 8_000),
                ("dns", {}, room.end_ns),
            ]
        )
    ]
    start = start_of(replace(trace, spans=(*trace.spans, *inside)))
    (traced,) = (task for task in start.tasks if task.name == "room")
    end = traced.start_us + traced.duration_us
    assert traced.left_running == (
        ("GET /v1/speak", end + 5),
        ("GET /v1/models", end + 6),
        ("GET", end + 7),
        ("connect", end + 8),
    )


@pytest.mark.parametrize("told", ["", "soon", "1+", "5+-1", "1+2 3", "9" * 5000 + "+1", 7, True])
def test_steps_nobody_can_read_are_none(startup_test: StartupTest, tmp_path: Path, told: str | int) -> None:
    """And what can be read among them counts."""
    write(tmp_path, startup_test.run(a_plan()).start)
    (trace,) = Files(tmp_path).traces(Query(), no_problem)
    spans = tuple(
        replace(span, attributes={**span.attributes, LOOP_HOLDS: told}) if span.name == "account" else span
        for span in trace.spans
    )
    (traced,) = (task for task in start_of(replace(trace, spans=spans)).tasks if task.name == "account")
    assert [step.duration_us for step in traced.steps] == ([2] if told == "1+2 3" else [])
