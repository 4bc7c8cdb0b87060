"""Initialization on starts drawn by hand; ms."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from firstword.telemetry.record import Dispatch, Outcome, Phase, Start, Task
from firstword.telemetry.times import initialization
from tests.properties import examples

MS = 1_000_000

# components  cccc                        0 - 1200
# caller      ~~~~~~~~~~~                 joins at 3000
# session                cc               3000 - 3400, needs components and caller
PAGE = Start(
    start=0,
    end=3300 * MS,
    first_step=0,
    outcome=Outcome.FIRST_WORD,
    tasks=(
        Task("components", 0, 0, 1200 * MS),
        Task("caller", 0, 0, 3000 * MS, outside=3000 * MS),
        Task("session", 3000 * MS, 3000 * MS, 3400 * MS, ("components", "caller"), readies=True),
        Task("playout", 3000 * MS, 3000 * MS, 3300 * MS, ("caller",)),
    ),
    phases=(Phase("greet", 0, 3300 * MS),),
    last="playout",
    dispatch=Dispatch.AHEAD,
    joined=3000 * MS,
    received=0,
    ready=3400 * MS,
)


def test_the_example_of_the_contract() -> None:
    """Job at 0, prepared at 1.2, caller joins at 3.0, ready at 3.4: 1.6 s. The caller waited 0.3 s."""
    assert initialization(PAGE) == 1.6
    assert PAGE.ttfw == 0.3


def test_a_caller_who_is_there_leaves_nothing_out() -> None:
    """Then every moment until readiness counts, whether a task runs or not."""
    assert initialization(replace(PAGE, joined=0, dispatch=Dispatch.JOIN)) == 3.4


def test_a_session_that_never_was_ready_has_no_initialization() -> None:
    """None, not infinity and not 0."""
    assert initialization(replace(PAGE, ready=None)) is None


def test_only_what_readiness_needs_counts_while_the_caller_is_away() -> None:
    """A task for something else, running until 2.5, makes initialization no longer."""
    idle = Task("idle", 0, 0, 2500 * MS)
    assert initialization(replace(PAGE, tasks=(*PAGE.tasks, idle))) == 1.6
    needed = replace(PAGE.task("session"), needs=("components", "caller", "idle"))
    tasks = tuple(needed if task.name == "session" else task for task in PAGE.tasks)
    assert initialization(replace(PAGE, tasks=(*tasks, idle))) == 2.9


def test_the_dispatch_counts() -> None:
    """The worker was busy launching until 1.5, though no task was running."""
    components = replace(PAGE.tasks[0], ready=1500 * MS, begin=1500 * MS, end=1600 * MS)
    launched = replace(PAGE, first_step=1500 * MS, tasks=(components, *PAGE.tasks[1:]))
    assert initialization(launched) == 2.0


@settings(max_examples=examples(500), derandomize=True)
@given(
    busy=st.lists(st.tuples(st.integers(0, 99), st.integers(1, 60)), min_size=1, max_size=5),
    joined=st.integers(0, 120),
    after=st.integers(0, 50),
)
def test_counted_millisecond_by_millisecond(busy: list[tuple[int, int]], joined: int, after: int) -> None:
    """Of all milliseconds until readiness, those in which the caller was there or a needed task was running."""
    tasks = tuple(
        Task(f"task{i}", begin * MS, begin * MS, (begin + length) * MS, readies=True)
        for i, (begin, length) in enumerate(busy)
    )
    ready = max(joined, *(begin + length for begin, length in busy)) + after
    counted = [at for at in range(ready) if at >= joined or any(begin <= at < begin + length for begin, length in busy)]
    start = replace(PAGE, tasks=tasks, joined=joined * MS, ready=ready * MS)
    assert initialization(start) == len(counted) / 1000
