"""Plans for tests: one of known durations to run, and random ones, played forward in time into a record.

The play is the tests' own idea of what happens; `firstword.telemetry.critical_path` never sees it, only the record it leaves.
So "what if this task took no time" can be asked here again, from the beginning, and the answers compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import strategies as st

from firstword.telemetry.plan import Plan, when
from firstword.telemetry.record import Dispatch, DispatchStage, LoopStep, Outcome, Phase, Start, Task, TaskState
from firstword.telemetry.vocabulary import CONNECT, WAIT

EPOCH = 1_795_000_000_000_000_000
"""ns: a root's start like a real one, so that what is lost in rounding shows."""
FIRST_WORD = "playout"


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


@dataclass(frozen=True)
class Planned:
    """A task before it runs: ns from the root's start, or of duration."""

    name: str
    needs: tuple[str, ...]
    work: int
    """What it does once it has begun, and what it waits for outside is there."""
    delay: int = 0
    """How long the loop lets it wait for its first step."""
    outside: int | None = None
    holds: tuple[int, ...] = ()
    """Per cent of each of its equal parts in which it holds the loop."""


@dataclass(frozen=True)
class Play:
    """A plan, and how the start that runs it ends."""

    tasks: tuple[Planned, ...]
    outcome: Outcome = Outcome.FIRST_WORD
    in_order: bool = False
    dispatch: int = 0
    stages: tuple[int, ...] = ()
    """Per cent of the dispatch at which each stage but the last ends, ascending."""
    joined: int | None = 0
    stopped: int = 0
    """Per cent of the way to the first word at which a start without one ends."""
    fails: int = 0
    """Which of the first word's needs fails, modulo their number."""
    deferred: tuple[int, ...] = ()
    """Durations of the deferred tasks."""
    lost: bool = False
    """Of a start without a caller: it does not give up, the server is lost."""

    def edges(self, index: int) -> tuple[str, ...]:
        """Everything the task waits for."""
        before = (self.tasks[index - 1].name,) if self.in_order and index else ()
        return tuple(dict.fromkeys((*self.tasks[index].needs, *before)))

    def needed(self) -> tuple[str, ...]:
        """What the first word needs, itself included, in order of declaration."""
        found = {FIRST_WORD}
        for index in range(len(self.tasks) - 1, -1, -1):
            if self.tasks[index].name in found:
                found.update(self.edges(index))
        return tuple(task.name for task in self.tasks if task.name in found)

    def times(self) -> dict[str, tuple[int, int, int]]:
        """Ready, begin and end of every task if nothing ends the start, ns from the root's start."""
        times: dict[str, tuple[int, int, int]] = {}
        for index, task in enumerate(self.tasks):
            ready = max([self.dispatch, *(times[name][2] for name in self.edges(index))])
            begin = ready + task.delay
            there = begin if task.outside is None else max(begin, task.outside)
            times[task.name] = (ready, begin, there + task.work)
        return times

    def without(self, name: str) -> Play:
        """The same play in which a task takes no time of its own."""
        return self.working({name: 0})

    def working(self, works: Mapping[str, int]) -> Play:
        """The same play with other durations."""
        return replace(self, tasks=tuple(replace(t, work=works.get(t.name, t.work)) for t in self.tasks))

    def record(self) -> Start:
        """The record of this play when all is done."""
        times = self.times()
        needed = self.needed()
        end, last = self._end(times, needed)
        tasks = [self._task(index, times, end, last, needed) for index in range(len(self.tasks))]
        # a task of no length may be needed and begin with the root's end
        tasks = [t for t in tasks if t.begin < EPOCH + end or (t.begin == EPOCH + end and t.name in needed)]
        if self.outcome is Outcome.FIRST_WORD:
            tasks += [_deferred(i, EPOCH + end, duration) for i, duration in enumerate(self.deferred)]
        return Start(
            start=EPOCH,
            end=EPOCH + end,
            first_step=EPOCH + self.dispatch,
            outcome=Outcome.FAILED if self.lost else self.outcome,
            tasks=tuple(tasks),
            phases=_phases(times, end),
            last=last,
            first_word_needs=needed,
            dispatch=Dispatch.JOIN if self.joined == 0 else Dispatch.AHEAD,
            joined=None if self.joined is None else EPOCH + self.joined,
            received=EPOCH,
            dispatch_stages=self._stages(),
            ready=max(task.end for task in tasks) if self.outcome is Outcome.FIRST_WORD else None,
            flags={"parallel-init": "off" if self.in_order else "on"},
        )

    def _stages(self) -> tuple[DispatchStage, ...]:
        borders = [EPOCH + self.dispatch * percent // 100 for percent in (0, *self.stages, 100)]
        return (
            tuple(DispatchStage(f"stage{i}", *span) for i, span in enumerate(pairwise(borders))) if self.stages else ()
        )

    def _end(self, times: Mapping[str, tuple[int, int, int]], needed: tuple[str, ...]) -> tuple[int, str | None]:
        if self.outcome is Outcome.FIRST_WORD:
            return times[FIRST_WORD][2], FIRST_WORD
        if self.outcome is Outcome.FAILED:
            failed = needed[self.fails % len(needed)]
            return times[failed][2], failed
        if self.outcome is Outcome.NO_CALLER:
            # all that doesn't need the caller is long done
            return max(times[t.name][2] for t in self.tasks) + 1_000_000, None
        return self.dispatch + (times[FIRST_WORD][2] - self.dispatch) * self.stopped // 100, None

    def _task(
        self, index: int, times: Mapping[str, tuple[int, int, int]], end: int, last: str | None, needed: tuple[str, ...]
    ) -> Task:
        planned = self.tasks[index]
        ready, begin, until = times[planned.name]
        state, outside = TaskState.DONE, planned.outside
        if self.outcome is Outcome.NO_CALLER:
            if planned.name == "caller":
                until, outside = end + 5_000, end if self.lost else None
            elif "caller" in self._ancestors(index):
                begin = until = end + 1_000_000
        if until > end and (planned.name in needed or self.outcome is not Outcome.FIRST_WORD):
            until, state = max(end, begin) + 5_000, TaskState.CANCELLED
        if planned.name == last and self.outcome is Outcome.FAILED:
            state = TaskState.FAILED
        part = (until - begin) // len(planned.holds) if planned.holds else 0
        starts = [EPOCH + begin + i * part for i in range(len(planned.holds))]
        return Task(
            name=planned.name,
            ready=EPOCH + ready,
            begin=EPOCH + begin,
            end=EPOCH + until,
            needs=planned.needs,
            order=self.tasks[index - 1].name if self.in_order and index else None,
            outside=None if outside is None else EPOCH + outside,
            steps=tuple(LoopStep(s, s + part * hold // 100) for s, hold in zip(starts, planned.holds, strict=True)),
            readies=planned.name not in self.needed(),
            state=state,
            error_type="ConnectionError" if state is TaskState.FAILED else None,
        )

    def _ancestors(self, index: int) -> set[str]:
        found = set(self.edges(index))
        for before in range(index - 1, -1, -1):
            if self.tasks[before].name in found:
                found.update(self.edges(before))
        return found


def _deferred(index: int, end: int, duration: int) -> Task:
    return Task(f"later{index}", ready=end, begin=end, end=end + duration, deferred=True, steps=(LoopStep(end, end),))


def _phases(times: Mapping[str, tuple[int, int, int]], end: int) -> tuple[Phase, ...]:
    borders = [0, *(min(times[name][2], end) for name in ("room", "caller")), end]
    reached = 1 + sum(border < end for border in borders[1:3])
    names = ("connect", "wait", "greet")
    ends = [*borders[1:reached], end]
    return tuple(Phase(names[i], EPOCH + borders[i], EPOCH + ends[i]) for i in range(reached))


def as_of_the_end(start: Start) -> Start:
    """The record of the same start made at its root's end: what came after is not known yet."""

    def then(task: Task) -> Task:
        if task.end <= start.end:
            return task
        steps = tuple(LoopStep(s.start, min(s.end, start.end)) for s in task.steps if s.start < start.end)
        return replace(task, end=start.end, steps=steps, state=TaskState.RUNNING, error_type=None)

    tasks = [then(task) for task in start.tasks if not task.deferred and task.begin <= start.end]
    ready = start.ready if start.ready is not None and start.ready <= start.end else None
    return replace(start, tasks=tuple(tasks), ready=ready)


# From nothing over what vanishes in rounding, and less than a loop's delay that counts, to what people wait for
durations = st.one_of(st.just(0), st.integers(0, 4_000), st.integers(0, 900_000), st.integers(0, 400_000_000))
delays = st.one_of(st.just(0), st.just(0), st.integers(0, 999_999), st.integers(1_000_000, 50_000_000))


@st.composite
def plays(draw: st.DrawFn, outcomes: tuple[Outcome, ...] = tuple(Outcome), most: int = 8) -> Play:
    """Plays of up to `most` tasks, `room` before `caller` before `playout` among them."""
    extra = draw(st.integers(0, most - 3))
    room = draw(st.integers(0, extra))
    caller = draw(st.integers(room + 1, extra + 1))
    names = [f"task{i}" for i in range(extra)]
    names.insert(room, "room")
    names.insert(caller, "caller")
    names.append(FIRST_WORD)
    outcome = draw(st.sampled_from(outcomes))
    absent = outcome is not Outcome.NO_CALLER and draw(st.booleans())
    joined = draw(st.integers(1, 500_000_000)) if absent else 0
    always = {"caller": {"room"}, FIRST_WORD: {"caller"}}
    tasks: list[Planned] = []
    for index, name in enumerate(names):
        bits = draw(st.integers(0, 2**index - 1)) & draw(st.integers(0, 2**index - 1))
        needs = {other for i, other in enumerate(names[:index]) if bits >> i & 1} | always.get(name, set())
        outside = None
        if name == "caller":
            outside = joined + draw(durations)
        elif draw(st.integers(0, 5)) == 0:
            outside = draw(durations)
        holds = tuple(draw(st.lists(st.integers(0, 100), max_size=3)))
        ordered = tuple(other for other in names if other in needs)
        tasks.append(Planned(name, ordered, draw(durations), draw(delays), outside, holds))
    return Play(
        tasks=tuple(tasks),
        outcome=outcome,
        in_order=draw(st.booleans()),
        dispatch=draw(durations),
        stages=tuple(sorted(draw(st.lists(st.integers(0, 100), max_size=5)))),
        joined=None if outcome is Outcome.NO_CALLER else joined,
        stopped=draw(st.integers(0, 99)),
        fails=draw(st.integers(0, most)),
        deferred=tuple(draw(st.lists(durations, max_size=2))),
        lost=outcome is Outcome.NO_CALLER and draw(st.booleans()),
    )
