"""How the run of a plan ends, on virtual time: failures, fallbacks, a start that is stopped, and what outlives the first word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from firstword.telemetry.plan import Plan
from firstword.telemetry.record import Outcome, Start, TaskState
from firstword.telemetry.run import Run, StartFailed, used_fallback
from firstword.telemetry.testing import StartupTest
from firstword.telemetry.vocabulary import CONNECT, GREET, WAIT
from tests.telemetry.plans import a_plan

CUT_OFF = pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "cancelled from outside"])
"""How a start ends before its first word."""


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


@pytest.mark.parametrize("outcome", [Outcome.ABANDONED, Outcome.TIMED_OUT, Outcome.NO_CALLER, Outcome.FAILED])
def test_a_first_word_in_the_turn_of_a_stop_is_none(startup_test: StartupTest, outcome: Outcome) -> None:
    """The task was done before it could be cancelled; but the start had ended, and nothing deferred begins."""
    plan, heard = _plan_of_two()

    async def end(run: Run) -> None:
        await asyncio.sleep(0.1)
        heard.set()
        run.stop(outcome)

    start = startup_test.run(plan, meanwhile=end).start
    assert start.outcome is outcome
    assert start.end - start.start == 100_000_000
    assert start.task("playout").state is TaskState.DONE
    assert [task.name for task in start.tasks] == ["account", "playout"]
    assert start.task("account").state is TaskState.CANCELLED
    (root,) = [span for span in startup_test.exported() if span.parent is None]
    assert (root.attributes or {})["startup.outcome"] == outcome


def test_a_stop_in_the_turn_of_the_first_word_is_none(startup_test: StartupTest) -> None:
    """The first word was there first; what is deferred runs to its end."""
    plan, heard = _plan_of_two()

    async def end(run: Run) -> None:
        await asyncio.sleep(0.1)
        heard.set()
        asyncio.get_running_loop().call_soon(run.stop, Outcome.ABANDONED)

    start = startup_test.run(plan, meanwhile=end).start
    assert start.outcome is Outcome.FIRST_WORD
    assert start.task("analytics").state is TaskState.DONE


def test_a_first_word_in_the_turn_of_a_failure_is_none(startup_test: StartupTest) -> None:
    """A required task fails, and the first word is done before it can be cancelled: the start has failed."""
    plan, heard = Plan("session.startup", phases=(GREET,)), asyncio.Event()

    @plan.task()
    async def account() -> None:
        await heard.wait()
        raise OSError

    @plan.first_word
    async def playout() -> None:
        await heard.wait()

    @plan.task(deferred=True)
    async def analytics() -> None: ...

    async def end(run: Run) -> None:
        await asyncio.sleep(0.1)
        heard.set()

    plan.check()
    with pytest.raises(StartFailed, match="account"):
        startup_test.run(plan, meanwhile=end)
    spans = {span.name: span for span in startup_test.exported()}
    assert (spans["session.startup"].attributes or {})["startup.outcome"] == "failed"
    assert "analytics" not in spans


@CUT_OFF
def test_nothing_begins_or_runs_on_once_a_start_has_ended(startup_test: StartupTest, stopped: bool) -> None:
    """A task is done in the turn of the end: what needs it begins no more, or is cancelled before its first step."""
    plan, connected = Plan("session.startup"), asyncio.Event()

    @plan.task(closes=CONNECT)
    async def room() -> None:
        await connected.wait()

    @plan.task(closes=WAIT)
    async def caller(room: None) -> None: ...

    @plan.first_word
    async def playout(caller: None) -> None: ...

    plan.check()
    run = startup_test.new_run(plan)

    performing = startup_test.loop.run_until_complete(
        _cut_off(run, Outcome.TIMED_OUT if stopped else None, connected.set)
    )
    assert performing.cancelled() is not stopped
    states = [(task.name, task.state) for task in run.record().tasks]
    begun = [] if stopped else [("caller", TaskState.CANCELLED)]
    assert states == [("room", TaskState.DONE), *begun]
    assert {name for name, _ in states} <= {span.name for span in startup_test.exported()}


@CUT_OFF
def test_a_task_that_fails_as_it_is_cancelled_changes_no_end(startup_test: StartupTest, stopped: bool) -> None:
    """A provider's connection that breaks while it is closed. The stop or the cancellation came first, and counts."""
    plan = Plan("session.startup", phases=(GREET,))

    @plan.first_word
    async def playout() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            raise ConnectionResetError

    plan.check()
    run = startup_test.new_run(plan)

    performing = startup_test.loop.run_until_complete(_cut_off(run, Outcome.ABANDONED if stopped else None))
    assert performing.cancelled() is not stopped
    if stopped:
        assert performing.result().outcome is Outcome.ABANDONED
    assert run.record().task("playout").error_type == "ConnectionResetError"


async def _cut_off(
    run: Run, outcome: Outcome | None, just_before: Callable[[], object] = lambda: None
) -> asyncio.Task[Start]:
    """Perform it, and after 0.1 s stop it with this outcome, or cancel it from outside where there is none. The task, ended."""
    performing = asyncio.create_task(run.perform())
    await asyncio.sleep(0.1)
    just_before()
    if outcome is None:
        performing.cancel()
    else:
        run.stop(outcome)
    await asyncio.wait({performing})
    return performing


def _plan_of_two() -> tuple[Plan, asyncio.Event]:
    """A first word that is said at the event, a task that takes longer and can wait, and one that is deferred."""
    plan, heard = Plan("session.startup", phases=(GREET,)), asyncio.Event()

    @plan.task(readies=True)
    async def account() -> None:
        await asyncio.sleep(1)

    @plan.first_word
    async def playout() -> None:
        await heard.wait()

    @plan.task(deferred=True)
    async def analytics() -> None:
        await asyncio.sleep(0.1)

    plan.check()
    return plan, heard
