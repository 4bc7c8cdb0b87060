"""The run of a plan, on virtual time: what starts when, what is deferred, what a task adds to the record; whole traces as literals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from inline_snapshot import snapshot

from firstword.telemetry.plan import Plan
from firstword.telemetry.record import Dispatch
from firstword.telemetry.run import Run, cache_result, waited_for
from firstword.telemetry.testing import EPOCH, StartupTest
from firstword.telemetry.vocabulary import CONNECT, GREET, ROOT, WAIT
from tests.telemetry.plans import a_plan


def test_a_concurrent_start_is_this_trace(startup_test: StartupTest) -> None:
    """Tasks start when their needs are there; what is deferred starts after the root's end, the rest is detached."""
    start = startup_test.run(a_plan(), given={"job": "job"}, flags={"deferred-setup": True}, dispatch=0.15)
    assert start.as_lines() == snapshot(
        [
            "    0.000   960.000 session.startup",
            "    0.000   149.999   dispatch",
            "    0.000   149.999     critical dispatch",
            "  150.000   420.000   account",
            "  150.000   249.999   connect",
            "  150.000   249.999     critical account",
            "  150.000   249.998   room",
            "  249.998   249.998   detached",
            "  250.000  1150.000     session -> needs room",
            "  250.000   289.999   wait",
            "  250.000   289.999     critical account",
            "  250.000   289.998   caller -> needs room",
            "  290.000   960.000   greet",
            "  290.000   419.999     critical account",
            "  420.000   899.999     critical greeting",
            "  900.000   960.000     critical playout",
            "  420.000   900.000   greeting -> needs account",
            "  900.000   959.999   playout -> needs greeting, needs caller",
            "  960.001  1150.000   session.ready",
            "  960.001  1095.000   deferred.analytics -> needs account",
        ]
    )
    assert start.critical_path == ["dispatch", "account", "greeting", "playout"]


def test_a_start_in_order_is_this_trace(startup_test: StartupTest) -> None:
    """One task after the other, as declared; what could be deferred is a need of the first word."""
    start = startup_test.run(a_plan(), given={"job": "job"}, in_order=True)
    assert start.as_lines() == snapshot(
        [
            "    0.000  1985.000 session.startup",
            "    0.000    99.999   connect",
            "    0.000    99.999     critical room",
            "    0.000    99.998   room",
            "    0.000     0.000   dispatch",
            "  100.000   139.999   wait",
            "  100.000   139.999     critical caller",
            "  100.000   139.998   caller -> needs room",
            "  140.000  1985.000   greet",
            "  140.000   409.999     critical account",
            "  410.000  1309.999     critical session",
            " 1310.000  1444.999     critical analytics",
            " 1445.000  1924.999     critical greeting",
            " 1925.000  1985.000     critical playout",
            "  140.000   410.000   account -> order caller",
            "  410.000  1310.000   session -> needs room, order account",
            " 1310.000  1445.000   analytics -> needs account, order session",
            " 1445.000  1925.000   greeting -> needs account, order analytics",
            " 1925.000  1984.999   playout -> needs greeting, needs caller, needs analytics",
            " 1985.001  1985.001   session.ready",
        ]
    )
    start.assert_on_path("room", "caller", "account", "session", "analytics", "greeting", "playout")


def test_values_flow_by_name_and_times_are_the_callers(startup_test: StartupTest) -> None:
    """TTFW counts from the caller's joining, and readiness is known when its tasks are done."""
    traced = startup_test.run(a_plan(), given={"job": "job"}, flags={"deferred-setup": True}, joined=0.5)
    start = traced.start
    assert start.dispatch is Dispatch.AHEAD
    assert start.ttfw == pytest.approx(0.310)
    assert start.ready == EPOCH + 1_000_000_000


def test_nothing_is_exported_before_the_first_word(startup_test: StartupTest) -> None:
    """Held in memory until then: an exporter must not run on the caller's time."""
    seen: list[int] = []

    async def look(run: Run) -> None:
        await asyncio.sleep(0.805)
        seen.append(len(startup_test.memory.get_finished_spans()))

    startup_test.run(a_plan(), given={"job": "job"}, meanwhile=look)
    assert seen == [0]


def test_who_finds_the_root_finds_its_path(startup_test: StartupTest) -> None:
    """An exporter's thread may cut a batch anywhere. After the root come only tasks that still ran, and readiness."""
    startup_test.run(a_plan(), given={"job": "job"}, flags={"deferred-setup": True})
    names = [span.name for span in startup_test.memory.get_finished_spans()]
    assert names[names.index(ROOT) + 1 :] == ["session", "deferred.analytics", "session.ready"]


def test_a_task_says_what_it_waited_for_and_what_its_cache_said(startup_test: StartupTest) -> None:
    """Outside instants and cache results are in the record; outside of a run saying so does nothing."""
    plan = Plan("p", phases=(GREET,))

    @plan.first_word
    async def playout() -> None:
        waited_for(EPOCH + 5)
        waited_for(EPOCH + 3)
        cache_result(hit=True)

    plan.check()
    task = startup_test.run(plan).start.task("playout")
    assert (task.outside, task.cache) == (EPOCH + 5, "hit")
    waited_for(1)
    cache_result(hit=False)


@pytest.mark.parametrize(("joined", "drag"), [(0.0, 0.100), (0.120, 0.0)], ids=["there before", "came meanwhile"])
def test_what_a_caller_who_is_there_does_is_an_answer(startup_test: StartupTest, joined: float, drag: float) -> None:
    """They subscribe 50 ms after the room is there: a faster room would have been answered sooner. One who came while they
    were waited for comes when they come, however fast the room was."""
    plan = Plan("p", phases=(CONNECT, WAIT, GREET))

    @plan.task(closes=CONNECT)
    async def room() -> None:
        await asyncio.sleep(0.100)

    @plan.task(closes=WAIT)
    async def caller(room: None) -> None:
        await asyncio.sleep(0.050)
        waited_for(EPOCH + 150_000_000)

    @plan.first_word
    async def playout(caller: None) -> None: ...

    plan.check()
    start = startup_test.run(plan, joined=joined)
    assert start.drag("room") == pytest.approx(drag)
    assert start.drag("caller") == pytest.approx(0.050 if joined == 0.0 else 0.0)


def test_a_caller_long_there_is_late_and_one_ahead_of_the_clock_is_clamped(startup_test: StartupTest) -> None:
    """`late` counts from the job; a join that the server dates after it was seen is the clocks' difference."""
    plan = Plan("p", phases=(GREET,))

    @plan.first_word
    async def playout() -> None:
        await asyncio.sleep(0.1)

    plan.check()

    def joining(at: int) -> Any:
        run = startup_test.new_run(plan, received=EPOCH + 10_000_000_000)
        startup_test.loop.jump(10.2)
        run.caller_joined(at)
        return startup_test.loop.run_until_complete(run.perform())

    late = joining(EPOCH + 1_000_000_000)
    assert (late.dispatch, late.start) == (Dispatch.LATE, EPOCH + 10_000_000_000)
    ahead_of_its_time = joining(EPOCH + 3_600_000_000_000)
    assert ahead_of_its_time.clock_skew == pytest.approx(3600 - 20.5, abs=0.2)
    assert ahead_of_its_time.ttfw is not None


def test_a_missing_given_value_is_named() -> None:
    """Before anything runs."""
    with pytest.raises(TypeError, match="job"):
        Run(a_plan().shape({}), given={})
