"""Two methods, one truth: of a start with a plan, the declared path and the observed one are the same, task by task."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from firstword.telemetry.critical_path import analyse
from firstword.telemetry.loop_hooks import start_record, stop_record
from firstword.telemetry.observed_path import observed_path
from firstword.telemetry.plan import Plan
from firstword.telemetry.run import Run
from firstword.telemetry.testing import VirtualTimeLoop
from firstword.telemetry.vocabulary import GREET
from tests.properties import examples

FILE = "/agent/plan.py"


@st.composite
def sources(draw: st.DrawFn) -> str:
    """A plan of up to ten tasks as source text, whose sleeps are different powers of two ms, each task with one or two."""
    count = draw(st.integers(1, 10))
    lengths = iter(draw(st.permutations(range(2 * count))))
    lines: list[str] = []
    for number in range(count):
        last = number == count - 1
        needs = [f"task{other}" for other in range(number) if draw(st.booleans())]
        body = [f"    await asyncio.sleep({2 ** next(lengths) / 1000})" for _ in range(draw(st.integers(1, 2)))]
        lines += ["@plan.first_word" if last else "@plan.task()", f"async def task{number}({', '.join(needs)}):", *body]
    return "\n".join([*lines, "    heard()"]) + "\n"


@settings(max_examples=examples(100))
@given(sources(), st.booleans())
def test_the_observed_path_is_the_declared_one(source: str, in_order: bool) -> None:
    """By the task's function, from the first step to the first word."""
    loop = VirtualTimeLoop()
    observed: list[tuple[str, int, int]] = []

    def heard() -> None:
        step, now = record.current, record.clock()
        for piece in observed_path(step, now, record.begin, record.steps):
            assert piece.line is not None
            assert piece.line.file == FILE
            begin = observed.pop()[1] if observed and observed[-1][0] == piece.line.function else piece.start
            observed.append((piece.line.function, begin, piece.end))

    plan = Plan("session.startup", phases=(GREET,))
    names: dict[str, Any] = {"asyncio": asyncio, "plan": plan, "heard": heard}
    exec(compile(source, FILE, "exec"), names)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        record = runner.run(recorded())
        start = runner.run(Run(plan.shape({}, in_order=in_order), given={}, clock=loop.clock).perform())
        stop_record(record)
    assert record.lost is None
    declared = [(piece.task, piece.start - start.start, piece.end - start.start) for piece in analyse(start).pieces]
    assert [(name, begin - record.begin, end - record.begin) for name, begin, end in observed] == declared


async def recorded() -> Any:
    """The record of this loop from now on."""
    loop: Any = asyncio.get_running_loop()
    return start_record(loop, clock=loop.clock)
