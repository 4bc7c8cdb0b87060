"""How many spans a start may have, libraries' included: 40, in declared order 64; what is dropped for it, and what never is."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from firstword.telemetry.plan import Plan
from firstword.telemetry.testing import StartupTest, Traced
from firstword.telemetry.vocabulary import GREET


def names(start: Traced) -> list[str]:
    """Of every exported span."""
    return [span.name for span in start.spans]


def test_what_libraries_trace_leaves_room_for_what_comes_after_the_first_word(startup_test: StartupTest) -> None:
    """Deferred tasks, detached ones and `session.ready` are exported later than libraries' spans, and are all there."""
    tracer = startup_test.exporting.inside.get_tracer("library")
    plan = Plan("session.startup", phases=(GREET,))

    async def request() -> None:
        with tracer.start_as_current_span("request"):
            await asyncio.sleep(0.010)

    @plan.task()
    async def account() -> None:
        for _ in range(60):
            await request()

    @plan.task(readies=True)
    async def session() -> None:
        await asyncio.sleep(2)

    @plan.first_word
    async def playout(account: None) -> None: ...

    for number in range(12):

        async def later(session: None) -> None:
            await request()

        later.__name__ = f"later{number}"
        plan.task(deferred=True)(later)
    plan.check()
    seen = names(startup_test.run(plan))
    assert len(seen) == 40
    assert [name for name in seen if name.startswith("deferred.later")] == [f"deferred.later{i}" for i in range(12)]
    assert {"session", "detached", "session.ready"} < set(seen)
    assert seen.count("request") == 40 - len([name for name in seen if name != "request"])


def test_delays_of_the_event_loop_are_joined_where_there_are_too_many(startup_test: StartupTest) -> None:
    """In declared order each of 22 tasks is delayed by the loop: the longest delays stay pieces, the path covers the start."""
    plan = Plan("session.startup", phases=(GREET,))

    def delaying(number: int) -> None:
        async def task() -> None:
            await asyncio.sleep(0.010)
            asyncio.get_running_loop().call_soon(startup_test.loop.jump, (number + 2) / 1000)

        task.__name__ = f"task{number}"
        plan.task()(task)

    for number in range(22):
        delaying(number)

    @plan.first_word
    async def playout() -> None: ...

    plan.check()
    start = startup_test.run(plan, in_order=True)
    seen = names(start)
    assert len(seen) == 64
    critical = [span for span in start.spans if span.name.startswith("critical ")]
    delays = sorted((s.end_time or 0) - (s.start_time or 0) for s in critical if s.name == "critical event loop")
    longest = range(24 - len(delays), 24)
    assert [round(delay / 1e6) for delay in delays] == list(longest)
    assert {f"critical task{i}" for i in range(22)} < {span.name for span in critical}
    gaps = [(b.start_time or 0) - (a.end_time or 0) for a, b in pairwise(critical)]
    assert set(gaps) == {1_000}  # the microsecond between neighbours
