"""Runs a plan once: starts each task when its needs are there, tracks phases and first word, and starts deferred tasks
after it.

It stands between `firstword.telemetry.plan` (what a start is) and `firstword.telemetry.record` (how one went). It
writes down every instant and opens a span context for each task. It hands the record to `firstword.telemetry.spans` at
the first word, and again when all is done.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from firstword.telemetry.clock import Clock, session_clock
from firstword.telemetry.loop_time import StepLog, attribute_to, install
from firstword.telemetry.plan import ERROR, Node, Shape
from firstword.telemetry.record import Outcome, Phase, Start, Task, TaskState
from firstword.telemetry.spans import StartTrace
from firstword.telemetry.times import JOIN_WINDOW, dispatch_stages, root_start
from firstword.telemetry.vocabulary import WAIT

logger = logging.getLogger("firstword")


class StartFailed(Exception):
    """Raised when a required task failed, so that the start ended. `task` is its name and `__cause__` its error."""

    def __init__(self, task: str) -> None:
        super().__init__(f"the start-up failed in task {task}")
        self.task = task


@dataclass
class _Running:
    """One task of the run while it goes on; becomes a `record.Task`."""

    node: Node
    clock: Clock
    ready: int
    begin: int
    end: int | None = None
    state: TaskState = TaskState.RUNNING
    outside: int | None = None
    error_type: str | None = None
    cache: str | None = None
    ended_at: int | None = None


_task: ContextVar[_Running | None] = ContextVar("telemetry_task", default=None)


def waited_for(instant: int) -> None:
    """Records that the task which calls this had to wait for something outside that happened at `instant` (ns, the
    run's clock).

    The latest of several counts. Outside of a run it does nothing.
    """
    if (task := _task.get()) is not None:
        task.outside = instant if task.outside is None else max(task.outside, instant)


def ended_at(instant: int) -> None:
    """Dates the end of the task that calls this back to `instant` (ns, the run's clock), when its work was really done.

    The end is never before the task's begin. Outside of a run it does nothing.
    """
    if (task := _task.get()) is not None:
        task.ended_at = instant


def end_marker() -> Callable[[], None]:
    """Returns a function that marks now as the end of the task that calls this. It may be called from anywhere.

    Like `ended_at`, for code that has no clock. Only the first call of a marker counts, and the last of several
    markers. Outside of a run the function does nothing.
    """
    task, marked = _task.get(), False

    def mark() -> None:
        nonlocal marked
        if task is not None and not marked:
            marked, task.ended_at = True, task.clock()

    return mark


def used_fallback(error: BaseException) -> None:
    """Records that the task which calls this failed with `error` at its purpose, and did something else. Outside of a
    run it does nothing.
    """
    if (task := _task.get()) is not None:
        task.state, task.error_type = TaskState.FALLBACK, type(error).__qualname__


def cache_result(*, hit: bool) -> None:
    """Records whether the cache of the task that calls this had what was asked for. Outside of a run it does nothing."""
    if (task := _task.get()) is not None:
        task.cache = "hit" if hit else "miss"


class Run:
    """One run of a plan's shape, which performs a start: `await run.perform()` once. Other methods may be called
    anywhere on the same loop.

    given: the values of `Plan.given`. received: when the worker learnt of the job, ns on `clock`. dispatch_ends: name
    and end of each stage of the dispatch except the last, in order, ns on `clock`. The last stage ends with the plan's
    first step. deadlines: seconds by task name, over those declared. flags: variant by flag, for the trace.
    join_window: see `root_start`. trace: where spans go; None: nothing is exported.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        given: Mapping[str, Any],
        trace: StartTrace | None = None,
        clock: Clock | None = None,
        received: int | None = None,
        dispatch_ends: Sequence[tuple[str, int]] = (),
        deadlines: Mapping[str, float] | None = None,
        flags: Mapping[str, str] | None = None,
        join_window: float = JOIN_WINDOW,
    ) -> None:
        if missing := shape.given - given.keys():
            raise TypeError(f"{shape.name}: no value given for {', '.join(sorted(missing))}")
        self.clock = clock or session_clock()
        self.attributes: dict[str, str | bool | int | float] = {}
        """Attributes that the agent adds to the root span, until the first word."""
        self._shape = shape
        self._given = dict(given)
        self._trace = trace
        self._received = received
        self._dispatch_ends = tuple(dispatch_ends)
        self._deadlines = dict(deadlines or {})
        self._flags = dict(flags or {})
        self._join_window = join_window
        self._tasks: dict[str, _Running] = {}
        self._results: dict[str, Any] = {}
        self._log = StepLog(self.clock)
        self._first_step = 0
        self._end: int | None = None
        self._outcome: Outcome | None = None
        self._failed: str | None = None
        self._cause: Exception | None = None
        self._cancelled = False
        self._joined: int | None = None
        self._skew = 0.0
        self._group: asyncio.TaskGroup | None = None
        self._performing: asyncio.Task[Any] | None = None

    async def perform(self) -> Start:
        """Runs the plan to its end, deferred tasks included, and returns the record.

        Raises StartFailed if a required task failed. A start that was stopped returns its record. If it is cancelled
        from outside, all tasks are cancelled, the record is exported as failed, and CancelledError is raised.
        """
        performing = self._performing = asyncio.current_task()
        assert performing is not None  # noqa: S101 - coroutines are performed by tasks
        install(asyncio.get_running_loop())
        self._first_step = self.clock()
        try:
            async with asyncio.TaskGroup() as self._group:
                self._begin_ready(self._first_step)
        except asyncio.CancelledError:
            record = self._finish()
            if not self._cancelled or performing.uncancel() > 0:  # from outside, or from there too
                raise
            if self._failed is not None:
                raise StartFailed(self._failed) from self._cause
            return record
        except ExceptionGroup:  # a defect of this library: what a task raises is kept
            self._finish()
            raise
        return self._finish()

    def give(self, name: str, value: Any) -> None:
        """Sets a value of `Plan.given`. Call it before `perform`."""
        self._given[name] = value

    @property
    def outcome(self) -> Outcome | None:
        """Returns how the start ended; None while it goes on."""
        return self._outcome

    def stop(self, outcome: Outcome) -> None:
        """Ends the start without a first word, with this outcome, and cancels every task. Does nothing once the start
        has ended.
        """
        if self._performing is not None and self._settle(outcome):
            self._cancel()

    def caller_joined(self, instant: int) -> int:
        """Records that the caller joined at `instant` (ns, as the server's clock says). Only the first caller counts.
        Returns when they joined.

        A join later than now comes from a difference of the clocks. Then now is taken, and `startup.clock_skew` says by
        how much it was corrected.
        """
        if self._joined is None:
            now = self.clock()
            self._skew = max(instant - now, 0) / 1e9
            self._joined = min(instant, now)
        return self._joined

    def event(self, name: str, attributes: Mapping[str, str | bool | int | float] | None = None) -> None:
        """Adds an event to the root span, at this instant."""
        if self._trace is not None:
            self._trace.event(name, self.clock(), dict(attributes or {}))

    def _settle(self, outcome: Outcome, end: int | None = None) -> bool:
        """Settle how the start ended, and when: at `end`, or now. Returns False where that was settled before.

        Every way to end asks here, since two of them may come in the same turn of the loop: the first one counts.
        """
        if self._outcome is not None:
            return False
        self._outcome, self._end = outcome, self.clock() if end is None else end
        return True

    def _cancel(self) -> None:
        """Cancel every task. The group never sees an error: before Python 3.13 it forgets a cancellation from outside
        for one.
        """
        assert self._performing is not None  # noqa: S101 - tasks only run inside perform()
        self._cancelled = True
        self._performing.cancel()

    def _begin_ready(self, instant: int) -> None:
        """Start every task whose needs are all there, as of `instant`; none once the start ended without a first word."""
        if self._failed is not None or self._outcome not in (None, Outcome.FIRST_WORD):
            return
        for node in self._shape.nodes:
            if node.name in self._tasks or (node.deferred and self._outcome is not Outcome.FIRST_WORD):
                continue
            if all(edge in self._results for edge in node.edges):
                self._start_task(node, instant)

    def _start_task(self, node: Node, instant: int) -> None:
        assert self._group is not None  # noqa: S101 - tasks only start inside perform()
        running = self._tasks[node.name] = _Running(node, self.clock, ready=instant, begin=instant)
        context = contextvars.copy_context()
        context.run(self._enter, running)
        self._group.create_task(self._run_task(running), name=node.name, context=context)

    def _enter(self, running: _Running) -> None:
        """What a task finds in its context: its log of steps, itself, and its span as the current one."""
        attribute_to(self._log, running.node.name)
        _task.set(running)
        if self._trace is not None:
            self._trace.enter_task(running.node.name)

    async def _run_task(self, running: _Running) -> None:
        node = running.node
        running.begin = self.clock()
        try:
            result = await self._value_of(running)
        except asyncio.CancelledError:
            running.state, running.end = TaskState.CANCELLED, self.clock()
            raise
        except Exception as error:
            running.state, running.end, running.error_type = TaskState.FAILED, self.clock(), type(error).__qualname__
            self._record_error(running, error)
            if node.deferred and not node.readies:
                logger.warning("deferred task %s failed", node.name, exc_info=error)
                return
            self._settle(Outcome.FAILED)
            if not self._cancelled:
                self._failed, self._cause = node.name, error
                self._cancel()
            return
        now = self.clock()
        running.end = now if running.ended_at is None else min(max(running.ended_at, running.begin), now)
        if running.state is TaskState.RUNNING:
            running.state = TaskState.DONE
        self._results[node.name] = result
        if node.name == self._shape.first_word and self._settle(Outcome.FIRST_WORD, running.end):
            # the spans are made in a later turn of the loop: what is deferred starts first
            asyncio.get_running_loop().call_soon(self._export)
        self._begin_ready(now)

    async def _value_of(self, running: _Running) -> Any:
        node = running.node
        values = {**self._given, **self._results}
        deadline = self._deadlines.get(node.name, node.deadline)
        try:
            async with asyncio.timeout(deadline):
                return await node.function(**{name: values[name] for name in node.passed})
        except Exception as error:
            if node.fallback is None:
                raise
            logger.warning("task %s uses its fallback: %s", node.name, type(error).__qualname__)
            running.state, running.error_type = TaskState.FALLBACK, type(error).__qualname__
            self._record_error(running, error)
            values[ERROR] = error
            return node.fallback(**{name: values.get(name) for name in node.fallback_parameters})

    def _record_error(self, running: _Running, error: Exception) -> None:
        # never the message: it may hold what must not be in a span (a number, a name, a key)
        if self._trace is not None:
            self._trace.task_event(
                running.node.name, "exception", self.clock(), {"exception.type": type(error).__qualname__}
            )

    def _export(self) -> None:
        if self._trace is not None:
            record = self.record()
            to_come = len(self._shape.nodes) - len(self._tasks)
            if record.ready is None and any(node.readies for node in self._shape.nodes):
                to_come += 1
            self._trace.export(record, to_come=to_come, finished=False)

    def _finish(self) -> Start:
        self._settle(Outcome.FAILED)
        for running in self._tasks.values():
            if running.end is None:  # cancelled before its first step
                running.state, running.end = TaskState.CANCELLED, running.begin
        self._log.close(self.clock())
        record = self.record()
        if self._trace is not None:
            self._trace.export(record, finished=True)
        return record

    def record(self) -> Start:
        """Returns the start so far, as data. Before its end, the data is as if it had ended now."""
        now = self.clock()
        end = self._end if self._end is not None else now
        received = self._first_step if self._received is None else min(self._received, self._first_step)
        start, dispatch = root_start(received, self._joined, self._join_window)
        tasks = tuple(self._task_record(node, end, now) for node in self._shape.nodes if node.name in self._tasks)
        last = {Outcome.FIRST_WORD: self._shape.first_word, Outcome.FAILED: self._failed}.get(
            self._outcome or Outcome.FAILED
        )
        needs = self._shape.needs_of(self._shape.first_word)
        return Start(
            start=start,
            end=end,
            first_step=self._first_step,
            outcome=self._outcome or Outcome.FAILED,
            tasks=tasks,
            phases=self._phases(start, end),
            last=last,
            first_word_needs=tuple(node.name for node in self._shape.nodes if node.name in needs),
            dispatch=dispatch,
            joined=self._joined,
            received=self._received,
            dispatch_stages=dispatch_stages(self._dispatch_ends, start, self._first_step),
            ready=self._ready(),
            clock_skew=self._skew,
            flags=self._flags,
            attributes=dict(self.attributes),
        )

    def _task_record(self, node: Node, end: int, now: int) -> Task:
        running = self._tasks[node.name]
        ended = running.end if running.end is not None else (now if node.deferred else end)
        outside = running.outside
        if node.closes == WAIT and self._joined is None:
            outside = end if running.state in (TaskState.RUNNING, TaskState.CANCELLED) else outside
        elif node.closes == WAIT and self._joined is not None and self._joined <= running.begin:
            # the caller was there: that they subscribed is their answer to us, and comes sooner to what is sooner done
            outside = None
        return Task(
            name=node.name,
            ready=running.ready,
            begin=running.begin,
            end=max(ended, running.begin),
            needs=node.needs,
            order=node.order,
            outside=outside,
            steps=self._log.of(node.name),
            deferred=node.deferred,
            readies=node.readies,
            # one that used its fallback may still run
            state=TaskState.RUNNING if running.end is None else running.state,
            error_type=running.error_type,
            cache=running.cache,
        )

    def _phases(self, start: int, end: int) -> tuple[Phase, ...]:
        closers = {node.closes: node.name for node in self._shape.nodes if node.closes is not None}
        phases: list[Phase] = []
        begin = start
        for name in self._shape.phases:
            closer = self._tasks.get(closers[name])
            closed = closer is not None and closer.end is not None and closers[name] in self._results
            until = min(closer.end, end) if closed and closer is not None and closer.end is not None else end
            phases.append(Phase(name, begin, max(until, begin)))
            begin = phases[-1].end
            if not closed:
                break
        return tuple(phases)

    def _ready(self) -> int | None:
        ends = [self._tasks[n.name].end if n.name in self._results else None for n in self._shape.nodes if n.readies]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None
