"""Who held the event loop: by name, also what a task started, and what that delayed."""

from __future__ import annotations

import asyncio

from firstword.telemetry.critical_path import PieceKind, analyse
from firstword.telemetry.plan import Plan
from firstword.telemetry.record import Start
from firstword.telemetry.testing import StartupTest
from firstword.telemetry.vocabulary import GREET


def a_plan_with_a_blocker(test: StartupTest) -> Plan:
    """`connecting` waits 200 ms for others; `crunch` computes 50 ms, starts two helpers of 20 + 20 ms, all at once."""
    plan = Plan("p", phases=(GREET,))

    def compute(milliseconds: int) -> None:
        test.loop.jump(milliseconds / 1000)

    async def helper() -> None:
        compute(20)
        await asyncio.sleep(0)
        compute(20)

    @plan.task()
    async def connecting() -> None:
        await asyncio.sleep(0.200)

    @plan.task()
    async def crunch() -> None:
        compute(50)
        await asyncio.gather(helper(), asyncio.create_task(helper()))

    @plan.task()
    async def small() -> None: ...

    @plan.first_word
    async def playout(connecting: None, crunch: None, small: None) -> None:
        await asyncio.sleep(0.010)

    plan.check()
    return plan


def run(test: StartupTest) -> Start:
    return test.run(a_plan_with_a_blocker(test)).start


def test_a_task_is_charged_for_its_steps_and_those_of_what_it_started(startup_test: StartupTest) -> None:
    """50 + 2 x (20 + 20) ms of computing are the task's; one that only waits held nothing."""
    figures = analyse(run(startup_test)).figures
    assert round(figures["crunch"].loop_time, 6) == 0.130
    assert figures["connecting"].loop_time == 0


def test_computing_while_the_path_waits_is_contention(startup_test: StartupTest) -> None:
    """The path waits for `connecting`; what `crunch` computed meanwhile may have cost it as much."""
    analysis = analyse(run(startup_test))
    assert [piece.task for piece in analysis.pieces if piece.kind is PieceKind.TASK] == ["connecting", "playout"]
    assert round(analysis.figures["crunch"].contention, 6) == 0.130
    assert analysis.figures["crunch"].drag == 0


def test_a_ready_task_that_could_not_start_shows_who_held_the_loop(startup_test: StartupTest) -> None:
    """`ready_delay` says how long, a piece `event loop` on the path says who."""
    plan = Plan("p", phases=(GREET,))

    @plan.task()
    async def room() -> None:
        await asyncio.sleep(0.100)

    @plan.task()
    async def vad() -> None:
        await asyncio.sleep(0.100)
        startup_test.loop.jump(0.080)

    @plan.first_word
    async def playout(room: None) -> None:
        await asyncio.sleep(0.010)

    plan.check()
    start = startup_test.run(plan).start
    pieces = [(piece.name, piece.held_by) for piece in analyse(start).pieces]
    assert pieces == [("room", None), ("event loop", "vad"), ("playout", None)]
    assert round(analyse(start).figures["playout"].ready_delay, 6) == 0.080


def test_steps_are_bounded(startup_test: StartupTest) -> None:
    """A task that steps forever fills no memory."""
    from firstword.telemetry import loop_time

    log = loop_time.StepLog(startup_test.loop.clock)
    for _ in range(loop_time.MOST_STEPS + 5):
        log.begin("busy")
        log.end()
    assert (len(log.of("busy")), log.dropped) == (loop_time.MOST_STEPS, 5)


def test_a_task_factory_that_was_there_still_makes_the_tasks(startup_test: StartupTest) -> None:
    """Instrumentations that set one keep working, and installing twice times once."""
    from firstword.telemetry.loop_time import install

    made: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: object, **options: object) -> asyncio.Task[object]:
        made.append("task")
        return asyncio.Task(coroutine, loop=loop, **options)  # type: ignore[arg-type]

    startup_test.loop.set_task_factory(factory)  # type: ignore[arg-type]
    install(startup_test.loop)
    installed = startup_test.loop.get_task_factory()
    install(startup_test.loop)
    assert startup_test.loop.get_task_factory() is installed
    assert round(analyse(run(startup_test)).figures["crunch"].loop_time, 6) == 0.130
    assert len(made) > 4
