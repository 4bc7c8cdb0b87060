"""Blame: what is added up over many starts, from traces as the worker writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from firstword.telemetry.record import Dispatch, Outcome, Start
from firstword.telemetry.vocabulary import SAMPLING_PERCENT
from firstword.tuning.blame import Blame, BlameRow, NothingToBlame, blame
from firstword.tuning.costs import Among, Cause, Kind, costs_of
from firstword.tuning.files import Files
from firstword.tuning.sources import Query
from tests.properties import examples
from tests.telemetry.plans import Play, plays
from tests.tuning.simulated import FIRST_WORD, Script, ms, simulate
from tests.tuning.written import T0, no_problem, otlp_span, request, write


def blamed(folder: Path, *starts: Start) -> Blame:
    """The answer for these starts, through the worker's writer and the reader."""
    if starts:
        write(folder, *starts)
    return blame(map(costs_of, Files(folder).traces(Query(), no_problem)))


def row(found: Blame, name: str, kind: Kind = Kind.TASK) -> BlameRow:
    return next(row for row in found.rows if row.cause == Cause(kind, name))


def a_start(account: float) -> Start:
    """Dispatch 100 ms; the room takes 80, the account so many; then components hold the loop for 30, then 50 of speech.

    The account is there while the room still connects, or not. Greeting's first step waits for the components' one.
    """
    scripts = (
        Script("room", (), ms((0, 80))),
        Script("account", (), ms((0, account))),
        Script("components", ("account", "room"), ms((30, 0))),
        Script("greeting", ("account", "room"), ms((0, 10))),
        Script(FIRST_WORD, ("greeting",), ms((0, 50))),
    )
    return simulate(scripts, in_order=False, dispatch=100_000_000)


def test_what_callers_waited_for_is_added_up_and_the_worst_comes_first(tmp_path: Path) -> None:
    """Two starts: the account takes 200 ms and costs 120, then 40 and nothing. Means are over both, also of the room."""
    found = blamed(tmp_path, a_start(200), a_start(40))
    assert (found.among, found.starts, found.weighted) == (Among.HEARD, 2, False)
    account, room = row(found, "account"), row(found, "room")
    assert account.drag == pytest.approx(0.060, abs=1e-4)
    assert account.path == pytest.approx(0.100, abs=1e-4)
    assert (account.critical, room.critical) == (0.5, 0.5)
    assert room.path == pytest.approx(0.040, abs=1e-4)
    assert account.duration.p50 == pytest.approx(0.040, abs=1e-4)
    assert account.duration.p90 == pytest.approx(0.200, abs=1e-4)
    assert found.waited.p99 == pytest.approx(0.390, abs=1e-4)
    costs = [row.path if row.drag is None else row.drag for row in found.rows]
    assert costs == sorted(costs, reverse=True)
    assert str(found.rows[0].cause) == "dispatch"


def test_the_event_loop_is_blamed_on_who_held_it(tmp_path: Path) -> None:
    """It has no drag of its own; the components, on no path, have the contention."""
    found = blamed(tmp_path, a_start(200))
    loop = row(found, "components", Kind.EVENT_LOOP)
    assert (loop.drag, loop.contention, loop.loop_time) == (None, None, None)
    assert loop.path == pytest.approx(0.030, abs=1e-4)
    components = row(found, "components")
    assert (components.drag, components.path, components.critical) == (0, 0, 0)
    assert components.contention == pytest.approx(0.030, abs=1e-4)
    assert components.loop_time == pytest.approx(0.030, abs=1e-4)


def test_an_absent_caller_is_in_no_row(tmp_path: Path) -> None:
    """He joined at 500 ms: what was before counts for nobody."""
    scripts = (
        Script("room", (), ms((0, 80))),
        Script("caller", ("room",), ms((0, 20)), for_caller=True),
        Script(FIRST_WORD, ("caller",), ms((0, 50))),
    )
    found = blamed(tmp_path, simulate(scripts, in_order=False, joined=500_000_000))
    assert found.waited.p50 == pytest.approx(0.070, abs=1e-4)
    assert {str(row.cause) for row in found.rows} == {"room", "caller", FIRST_WORD}
    assert row(found, "caller").path == pytest.approx(0.020, abs=1e-4)
    assert not any("absent" in str(cause) for _, cause in found.folded)


def test_caches_are_counted(tmp_path: Path) -> None:
    """Hits and misses of a task, where it has one."""

    def with_cache(result: str) -> Start:
        start = a_start(40)
        return replace(
            start, tasks=tuple(replace(t, cache=result if t.name == "account" else None) for t in start.tasks)
        )

    found = blamed(tmp_path, *map(with_cache, ("hit", "hit", "miss")))
    assert (row(found, "account").hits, row(found, "account").misses) == (2, 1)
    assert (row(found, "room").hits, row(found, "room").misses) == (0, 0)


def test_a_sampled_store_is_weighted(tmp_path: Path) -> None:
    """One in ten of the ordinary starts was kept, each counts for ten; the slow one is whole and counts for one."""

    def sampled(account: float, cache: str) -> Start:
        start = a_start(account)
        tasks = tuple(replace(t, cache=cache if t.name == "account" else None) for t in start.tasks)
        return replace(start, tasks=tasks, attributes={SAMPLING_PERCENT: 10.0})

    found = blamed(tmp_path, sampled(200, "hit"), sampled(2000, "miss"))
    assert found.weighted
    assert row(found, "account").drag == pytest.approx((10 * 0.120 + 1 * 1.920) / 11, abs=1e-4)
    assert found.waited.p90 == pytest.approx(0.390, abs=1e-4)
    assert found.waited.p99 == pytest.approx(2.190, abs=1e-4)
    assert (row(found, "account").hits, row(found, "account").misses) == (10, 1)


def test_starts_without_a_first_word_are_left_out_unless_there_are_only_such(tmp_path: Path) -> None:
    """Their drag is no time to the first word; a start nobody called is never blamed."""
    good = a_start(200)
    failed = replace(good, outcome=Outcome.FAILED, last="account", end=T0 + 300_000_000, tasks=good.tasks[:2])
    nobody = replace(failed, outcome=Outcome.NO_CALLER, last=None, joined=None, dispatch=Dispatch.AHEAD)
    found = blamed(tmp_path / "all", good, failed, nobody)
    assert (found.among, found.starts, found.left_out, found.no_caller) == (
        Among.HEARD,
        1,
        {Among.UNHEARD: 1, Among.OTHERS: 0},
        1,
    )
    found = blamed(tmp_path / "failed", failed)
    assert (found.among, found.starts) == (Among.UNHEARD, 1)
    assert row(found, "account").path == pytest.approx(0.2, abs=1e-4)
    with pytest.raises(NothingToBlame, match="1 start, and nobody came"):
        blamed(tmp_path / "nobody", nobody)
    with pytest.raises(NothingToBlame, match="no trace"):
        blame([])


def test_traces_of_others_are_added_up_by_span(tmp_path: Path) -> None:
    """Their path is guessed; there is no drag."""
    (tmp_path / "t.jsonl").write_text(request([otlp_span("order", 1, None, 0, 9), otlp_span("pay", 2, 1, 2, 8)]))
    found = blamed(tmp_path)
    assert found.among is Among.OTHERS
    assert [(str(row.cause), row.drag, round(row.path * 1e6)) for row in found.rows] == [
        ("pay", None, 6),
        ("order", None, 3),
    ]
    assert {str(cause): us for (_, cause), us in found.folded.items()} == {"order": 3, "pay": 6}


@settings(max_examples=examples(30))
@given(play=plays())
def test_rows_and_stacks_are_all_that_callers_waited_for(tmp_path_factory: pytest.TempPathFactory, play: Play) -> None:
    """Any start: together they are the time on the path, an absent caller's left out, but for the 1 µs between pieces."""
    start = play.record()
    folder = tmp_path_factory.mktemp("traces")
    if start.outcome is Outcome.NO_CALLER:
        with pytest.raises(NothingToBlame):
            blamed(folder, start)
        return
    found = blamed(folder, start)
    whole = sum(row.path for row in found.rows)
    assert whole <= (start.end - start.start) / 1e9 + 1e-6
    if start.joined == start.start:
        assert whole == pytest.approx((start.end - start.start) / 1e9, abs=6e-5)
    assert sum(found.folded.values()) / 1e6 == pytest.approx(whole, abs=1e-9)
    assert all(0 <= row.critical <= 1 and row.path >= 0 for row in found.rows)
