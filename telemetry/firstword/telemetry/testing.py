"""Helps a unit test assert on a start: virtual time, spans in memory, assertions that read like the domain.

A pytest plugin (fixture `startup_test`), and plain classes for other frameworks. Time only passes when every task
waits. So a plan with `asyncio.sleep(0.3)` takes 0.3 s in its trace and none on the clock on the wall. A trace is exact,
not "about".

A conftest.py or a module of tests asks for the plugin; nothing else loads it:

    pytest_plugins = ["firstword.telemetry.testing"]

A test then has the fixture:

    def test_account_is_off_the_path(startup_test):
        start = startup_test.run(plan, given={...})
        assert start.critical_path == ["dispatch", "room", "caller", "playout"]
        start.assert_not_on_path("account")

PYTEST_DONT_REWRITE: the assertions here have messages of their own. Pytest would warn a module of tests that imports
`StartupTest` before it asks for the plugin.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

from firstword.telemetry.critical_path import analyse
from firstword.telemetry.export import Exporting
from firstword.telemetry.path_assertions import assert_not_on_path, assert_on_path, in_turn
from firstword.telemetry.plan import Plan
from firstword.telemetry.record import Start, Task
from firstword.telemetry.run import Run
from firstword.telemetry.spans import StartTrace
from firstword.telemetry.times import JOIN_WINDOW
from firstword.telemetry.vocabulary import CRITICAL_PREFIX, EDGE

EPOCH = 1_700_000_000_000_000_000
"""Where virtual time begins, Unix ns."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time, which jumps to the next timer when nothing is left to do now.

    Sockets and threads work, but virtual time does not wait for them: use it for what waits on timers alone.
    """

    def __init__(self) -> None:
        self._elapsed = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Returns the virtual seconds since the loop was made."""
        return self._elapsed

    def jump(self, seconds: float) -> None:
        """Advances virtual time by so many seconds."""
        self._elapsed += seconds

    def clock(self) -> int:
        """Returns the virtual time in ns since the Unix epoch, as a run's clock does."""
        return EPOCH + round(self._elapsed * 1e9)


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self._loop.jump(timeout)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: every task waits for another and no timer is set")
        return ready


class CountingIds(IdGenerator):
    """Generates span and trace ids that count from 1, so that traces of tests are the same each time."""

    def __init__(self) -> None:
        self._spans, self._traces = count(1), count(1)

    def generate_span_id(self) -> int:
        """Returns the next span id: 1, 2, 3, ..."""
        return next(self._spans)

    def generate_trace_id(self) -> int:
        """Returns the next trace id: 1, 2, 3, ..."""
        return next(self._traces)

    def is_trace_id_random(self) -> bool:
        """Returns False, as the ids are counted."""
        return False


@dataclass(frozen=True)
class Traced:
    """A start that was run in a test: its record, its spans, and assertions on them."""

    start: Start
    spans: Sequence[ReadableSpan]

    @property
    def critical_path(self) -> list[str]:
        """Returns what the caller waited for, in order: task names, `dispatch` or its stages, `event loop`, `absent
        caller`.
        """
        return in_turn(piece.name for piece in analyse(self.start).pieces)

    def drag(self, task: str) -> float:
        """Returns by how many seconds the first word would have come earlier without the task's work."""
        return analyse(self.start).figures[task].drag

    def slack(self, task: str) -> float | None:
        """Returns by how many seconds the task could have ended later without delaying the first word. None if nothing
        bounds it.
        """
        return analyse(self.start).figures[task].slack

    def assert_on_path(self, *tasks: str) -> None:
        """Asserts that each of these tasks is on the critical path."""
        assert_on_path(self.critical_path, tasks)

    def assert_not_on_path(self, *tasks: str) -> None:
        """Asserts that none of these tasks is on the critical path."""
        assert_not_on_path(self.critical_path, tasks)

    def assert_after_first_word(self, *tasks: str) -> None:
        """Asserts that each of these tasks began after the root's end."""
        early = [name for name in tasks if self._task(name).begin < self.start.end]
        assert not early, f"began before the first word: {', '.join(early)}"  # noqa: S101

    def assert_overlap(self, one: str, other: str) -> None:
        """Asserts that both tasks ran at the same time for a while."""
        a, b = self._task(one), self._task(other)
        assert a.begin < b.end and b.begin < a.end, f"{one} and {other} did not overlap"  # noqa: S101, PT018

    def as_lines(self) -> list[str]:
        """Returns the whole trace as text, a line a span, in order of time: `begin end name`, in ms from the root's
        start.

        Children are indented below their parents, links follow an arrow. Made to be compared with one literal.
        """
        by_id = {span.context.span_id: span for span in self.spans if span.context}
        children: dict[int | None, list[ReadableSpan]] = {}
        for span in self.spans:
            parent = span.parent.span_id if span.parent is not None and span.parent.span_id in by_id else None
            children.setdefault(parent, []).append(span)
        lines: list[str] = []

        def walk(parent: int | None, depth: int) -> None:
            for span in sorted(children.get(parent, ()), key=lambda s: (s.start_time or 0, -(s.end_time or 0))):
                lines.append(self._line(span, depth, by_id))
                walk(span.context.span_id if span.context else None, depth + 1)

        walk(None, 0)
        return lines

    def _line(self, span: ReadableSpan, depth: int, by_id: Mapping[int, ReadableSpan]) -> str:
        begin, end = ((instant or 0) - self.start.start for instant in (span.start_time, span.end_time))
        links = [
            f"{link.attributes.get(EDGE)} {by_id[link.context.span_id].name}"
            for link in span.links
            if link.attributes and link.context.span_id in by_id and not span.name.startswith(CRITICAL_PREFIX)
        ]
        arrow = f" -> {', '.join(links)}" if links else ""
        return f"{begin / 1e6:9.3f} {end / 1e6:9.3f} {'  ' * depth}{span.name}{arrow}"

    def _task(self, name: str) -> Task:
        try:
            return self.start.task(name)
        except KeyError:
            there = ", ".join(task.name for task in self.start.tasks)
            raise AssertionError(f"task {name} did not run; there is: {there}") from None


class StartupTest:
    """Runs plans in virtual time for tests, and keeps their spans in memory."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self.loop = loop
        self.memory = InMemorySpanExporter()
        self.exporting = Exporting([self.memory], resource=Resource({"service.name": "test"}), ids=CountingIds())

    def new_run(
        self,
        plan: Plan,
        *,
        given: Mapping[str, Any] | None = None,
        flags: Mapping[str, bool] | None = None,
        in_order: bool = False,
        received: int | None = None,
        deadlines: Mapping[str, float] | None = None,
        join_window: float = JOIN_WINDOW,
    ) -> Run:
        """Returns a run of the plan on virtual time, not performed yet.

        flags: name -> whether it is on. in_order: tasks run one after the other, as declared. The others: as for `Run`.
        """
        return Run(
            plan.shape(flags or {}, in_order=in_order),
            given=given or {},
            trace=StartTrace(self.exporting),
            clock=self.loop.clock,
            received=received,
            deadlines=deadlines,
            flags={name: "on" if on else "off" for name, on in (flags or {}).items()},
            join_window=join_window,
        )

    def run(
        self,
        plan: Plan,
        *,
        given: Mapping[str, Any] | None = None,
        flags: Mapping[str, bool] | None = None,
        in_order: bool = False,
        received: int | None = None,
        deadlines: Mapping[str, float] | None = None,
        join_window: float = JOIN_WINDOW,
        meanwhile: Callable[[Run], Coroutine[Any, Any, None]] | None = None,
        joined: float | None = 0.0,
        dispatch: float = 0.0,
    ) -> Traced:
        """Runs the plan to its end and returns its record and spans.

        joined: when the caller joins, seconds from now; None: nobody joins. dispatch: seconds until the plan's first
        step. meanwhile: an async function of the run that runs beside it, from the first step on. The others: as for
        `new_run`. Raises what `Run.perform` raises; what was exported then is in `exported()`.
        """
        run = self.new_run(
            plan,
            given=given,
            flags=flags,
            in_order=in_order,
            received=received,
            deadlines=deadlines,
            join_window=join_window,
        )

        async def perform() -> Start:
            if joined is not None:
                asyncio.get_running_loop().call_later(
                    joined, run.caller_joined, self.loop.clock() + round(joined * 1e9)
                )
            await asyncio.sleep(dispatch)
            other = asyncio.ensure_future(meanwhile(run)) if meanwhile is not None else None
            try:
                return await run.perform()
            finally:
                if other is not None:
                    other.cancel()

        return Traced(self.loop.run_until_complete(perform()), self.exported())

    def exported(self) -> Sequence[ReadableSpan]:
        """Returns every span that has been exported."""
        self.exporting.flush(5.0)
        return self.memory.get_finished_spans()


@pytest.fixture
def startup_test() -> Generator[StartupTest]:
    """Fixture: yields a new `StartupTest`, which runs plans in virtual time."""
    loop = VirtualTimeLoop()
    test = StartupTest(loop)
    try:
        yield test
    finally:
        test.exporting.shutdown()
        loop.close()
