"""The run of a plan, on virtual time: what starts when, what is deferred, how a start ends; whole traces as literals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from inline_snapshot import snapshot

from telemetry.plan import Plan, when
from telemetry.record import Dispatch, Outcome, TaskState
from telemetry.run import Run, StartFailed, cache_result, used_fallback, waited_for
from telemetry.testing import EPOCH, StartupTest
from telemetry.vocabulary import CONNECT, GREET, WAIT


def a_plan() -> Plan:
    """room 100 ms, account 270 ms, caller 40 ms after room, greeting 480 ms after account, playout 60 ms; two can be deferred."""
    plan = Plan("session.startup", given=("job",))

    @plan.task(closes=CONNECT)
    async def room(job: str) -> str:
        await asyncio.sleep(0.100)
        return f"room of {job}"

    @plan.task(closes=WAIT)
    async def caller(room: str) -> str:
        await asyncio.sleep(0.040)
        return f"caller in {room}"

    @plan.task()
    async def account(job: str) -> str:
        await asyncio.sleep(0.270)
        return "Ada"

    @plan.task(readies=True)
    async def session(room: str) -> str:
        await asyncio.sleep(0.900)
        return "session"

    @plan.task(deferred=when("deferred-setup"))
    async def analytics(account: str) -> None:
        await asyncio.sleep(0.135)

    @plan.task()
    async def greeting(account: str) -> str:
        await asyncio.sleep(0.480)
        return f"Hello {account}"

    @plan.first_word
    async def playout(greeting: str, caller: str) -> None:
        assert (greeting, caller) == ("Hello Ada", "caller in room of job")
        await asyncio.sleep(0.060)

    plan.check()
    return plan


def test_a_concurrent_start_is_this_trace(startup_test: StartupTest) -> None:
    """Tasks start when their needs are there; what is deferred starts after the root's end, the rest is detached."""
    start = startup_test.run(a_plan(), given={"job": "job"}, flags={"deferred-setup": True}, dispatch=0.15)
    assert start.as_lines() == snapshot(
        [
            "    0.000   960.000 session.startup",
            "    0.000   249.999   connect",
            "    0.000   149.999     critical dispatch",
            "  150.000   249.999     critical account",
            "    0.000   150.000   dispatch",
            "  150.000   420.000   account",
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


def test_a_required_task_that_fails_ends_the_start(startup_test: StartupTest) -> None:
    """The others are cancelled, the record says who failed and how, and the error is the cause of StartFailed."""
    plan = Plan("p", phases=(GREET,))
    cancelled: list[str] = []

    @plan.task()
    async def slow() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.append("slow")
            raise

    @plan.task()
    async def broken() -> None:
        await asyncio.sleep(0.1)
        raise ValueError("the number is +49 30 1234567")

    @plan.first_word
    async def playout(slow: None, broken: None) -> None: ...

    plan.check()
    with pytest.raises(StartFailed, match="broken") as failed:
        startup_test.run(plan)
    assert isinstance(failed.value.__cause__, ValueError)
    assert cancelled == ["slow"]
    spans = {span.name: span for span in startup_test.exported()}
    root = spans["session.startup"]
    assert root.attributes is not None
    assert root.attributes["startup.outcome"] == "failed"
    assert root.attributes["error.type"] == "ValueError"
    assert "1234567" not in "".join(span.to_json() for span in spans.values())


def test_a_fallback_takes_the_place_of_a_task_that_fails_or_is_late(startup_test: StartupTest) -> None:
    """Its value is used, the start goes on, and the trace counts it."""
    plan = Plan("p", given=("generic",), phases=(GREET,))

    def nobody(error: Exception, generic: str) -> str:
        return f"{generic} after {type(error).__name__}"

    def late(account: str) -> str:
        return f"late, {account}"

    @plan.task(fallback=nobody)
    async def account() -> str:
        raise ConnectionError

    @plan.task(fallback=late, deadline=0.2)
    async def greeting(account: str) -> str:
        await asyncio.sleep(10)
        return "never"

    said: list[str] = []

    @plan.first_word
    async def playout(account: str, greeting: str) -> None:
        said.extend((account, greeting))

    plan.check()
    start = startup_test.run(plan, given={"generic": "nobody"}).start
    assert said == ["nobody after ConnectionError", "late, nobody after ConnectionError"]
    assert [start.task(name).state for name in ("account", "greeting")] == [TaskState.FALLBACK] * 2
    assert start.task("greeting").error_type == "TimeoutError"
    assert start.task("greeting").end - start.task("greeting").begin == 200_000_000


@pytest.mark.parametrize("outcome", [Outcome.ABANDONED, Outcome.TIMED_OUT, Outcome.NO_CALLER])
def test_a_start_that_is_stopped_returns_its_record(startup_test: StartupTest, outcome: Outcome) -> None:
    """Every task is cancelled, the phase it was in is cut there, later phases are not in it."""

    async def stop(run: Run) -> None:
        await asyncio.sleep(0.120)
        run.stop(outcome)

    traced = startup_test.run(a_plan(), given={"job": "job"}, meanwhile=stop)
    assert traced.start.outcome is outcome
    assert [phase.name for phase in traced.start.phases] == [CONNECT, WAIT]
    assert traced.start.end - traced.start.start == 120_000_000
    assert traced.start.task("account").state is TaskState.CANCELLED


def test_a_start_that_fails_before_anybody_came_says_so(startup_test: StartupTest) -> None:
    """The task that closes `wait` waited for a caller who was absent until the end; one that had joined was not."""

    async def lose(run: Run) -> None:
        await asyncio.sleep(5)
        run.stop(Outcome.FAILED)

    plan = Plan("session.startup")

    @plan.task(closes=CONNECT)
    async def room() -> None:
        await asyncio.sleep(0.100)

    @plan.task(closes=WAIT)
    async def caller(room: None) -> None:
        await asyncio.sleep(60)

    @plan.first_word
    async def playout(caller: None) -> None: ...

    plan.check()
    absent = startup_test.run(plan, joined=None, meanwhile=lose)
    assert absent.critical_path == ["room", "absent caller"]
    assert absent.drag("caller") == 0
    assert absent.start.outcome is Outcome.FAILED
    assert startup_test.run(plan, joined=0.0, meanwhile=lose).critical_path == ["room", "caller"]


def test_a_detached_task_is_exported_with_all_it_did(startup_test: StartupTest) -> None:
    """It used its fallback before the first word and computed before and after it: one span, when it has ended."""
    plan = Plan("session.startup", phases=(GREET,))

    @plan.task()
    async def session() -> None:
        used_fallback(TimeoutError())
        startup_test.loop.jump(0.010)
        await asyncio.sleep(0.490)
        startup_test.loop.jump(0.030)

    @plan.first_word
    async def playout() -> None:
        await asyncio.sleep(0.200)

    async def look(run: Run) -> None:
        await asyncio.sleep(0.300)
        seen.extend(span.name for span in startup_test.exported())

    plan.check()
    seen: list[str] = []
    start = startup_test.run(plan, meanwhile=look)
    assert "playout" in seen
    assert "session" not in seen
    (span,) = (span for span in start.spans if span.name == "session")
    assert (span.end_time or 0) - (span.start_time or 0) == 530_000_000
    assert (span.attributes or {})["startup.loop_time"] == pytest.approx(0.040)
    assert start.start.task("session").state is TaskState.FALLBACK


def test_stopping_after_the_first_word_changes_nothing(startup_test: StartupTest) -> None:
    """The outcome is settled by the first word; deferred tasks still run to their end."""

    async def stop(run: Run) -> None:
        await asyncio.sleep(0.850)
        run.stop(Outcome.ABANDONED)

    start = startup_test.run(a_plan(), given={"job": "job"}, flags={"deferred-setup": True}, meanwhile=stop).start
    assert start.outcome is Outcome.FIRST_WORD
    assert start.task("analytics").state is TaskState.DONE


def test_cancellation_from_outside_goes_on_and_leaves_a_trace(startup_test: StartupTest) -> None:
    """A job that LiveKit cancels is a failed start, exported, and the cancellation is not swallowed."""

    async def cancel(run: Run) -> None:
        await asyncio.sleep(0.050)
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task() and task.get_name() not in ("room", "account"):
                task.cancel()

    with pytest.raises(asyncio.CancelledError):
        startup_test.run(a_plan(), given={"job": "job"}, meanwhile=cancel)
    assert [s.attributes["startup.outcome"] for s in startup_test.exported() if s.parent is None and s.attributes] == [
        "failed"
    ]


def test_nothing_is_exported_before_the_first_word(startup_test: StartupTest) -> None:
    """Held in memory until then: an exporter must not run on the caller's time."""
    seen: list[int] = []

    async def look(run: Run) -> None:
        await asyncio.sleep(0.805)
        seen.append(len(startup_test.memory.get_finished_spans()))

    startup_test.run(a_plan(), given={"job": "job"}, meanwhile=look)
    assert seen == [0]


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


def test_a_deferred_task_that_fails_costs_nobody_the_call(startup_test: StartupTest) -> None:
    """It is logged and marked; the run ends as usual."""
    plan = Plan("p", phases=(GREET,))

    @plan.first_word
    async def playout() -> None:
        await asyncio.sleep(0.1)

    @plan.task(deferred=True)
    async def analytics() -> None:
        raise OSError

    plan.check()
    start = startup_test.run(plan).start
    assert start.outcome is Outcome.FIRST_WORD
    assert start.task("analytics").state is TaskState.FAILED


def test_a_session_that_can_never_converse_ends_with_its_task_named(startup_test: StartupTest) -> None:
    """The first word was said, so the outcome stays; but what readiness needs failed, and that is not kept quiet."""
    plan = Plan("p", phases=(GREET,))

    @plan.first_word
    async def playout() -> None:
        await asyncio.sleep(0.1)

    @plan.task(deferred=True, readies=True)
    async def session() -> None:
        raise OSError

    plan.check()
    with pytest.raises(StartFailed, match="session"):
        startup_test.run(plan)
    (root,) = [span for span in startup_test.exported() if span.parent is None]
    assert root.attributes is not None
    assert root.attributes["startup.outcome"] == "first_word"


def test_a_missing_given_value_is_named() -> None:
    """Before anything runs."""
    with pytest.raises(TypeError, match="job"):
        Run(a_plan().shape({}), given={})
