"""Measures when a task held the event loop: times every step of its coroutine, and of the asyncio tasks it starts.

Stands below `firstword.telemetry.run`, which opens a log for each task of the plan; the steps end in the record as
`Task.steps`. A step is one `send` or `throw` of a coroutine, between two of its awaits; only one runs at a time on a
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Any

from firstword.telemetry.clock import Clock
from firstword.telemetry.record import LoopStep

MOST_STEPS = 20_000
"""Most steps kept for one start, so that memory is bounded. Further ones are only counted."""


class StepLog:
    """The log of the loop's steps in one start, by task. Once closed, a step costs one comparison and is not recorded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps: list[tuple[str, int, int]] = []
        self._open: tuple[str, int] | None = None
        self._closed = False
        self.dropped = 0

    def close(self, instant: int) -> None:
        """Ends the log. A step that goes on is kept until `instant` (ns); later ones are not recorded."""
        self.end(instant)
        self._closed = True

    def of(self, task: str) -> tuple[LoopStep, ...]:
        """Returns the recorded steps of a task, in the order they ran."""
        return tuple(LoopStep(start, end) for name, start, end in self._steps if name == task)

    def begin(self, task: str) -> None:
        """Records that a step of the task begins now."""
        if not self._closed:
            self._open = (task, self._clock())

    def end(self, instant: int | None = None) -> None:
        """Records that the step that runs has ended, now or at `instant` (ns)."""
        if self._open is None:
            return
        (task, begin), self._open = self._open, None
        if len(self._steps) < MOST_STEPS:
            self._steps.append((task, begin, self._clock() if instant is None else max(instant, begin)))
        else:
            self.dropped += 1


_current: ContextVar[tuple[StepLog, str] | None] = ContextVar("telemetry_step_log", default=None)


def attribute_to(log: StepLog, task: str) -> None:
    """Counts steps for `task` from here on, in this context and in every asyncio task started from it."""
    _current.set((log, task))


class _TimedCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine that logs when each of its steps held the loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], log: StepLog, task: str) -> None:
        self._coroutine = coroutine
        self._log = log
        self._task = task

    def send(self, value: Any, /) -> Any:
        self._log.begin(self._task)
        try:
            return self._coroutine.send(value)
        finally:
            self._log.end()

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None, /) -> Any:
        self._log.begin(self._task)
        try:
            return self._coroutine.throw(typ) if val is None else self._coroutine.throw(typ, val, tb)
        finally:
            self._log.end()

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        # cr_frame, cr_code, __qualname__: what asyncio's own repr and stack printing ask a coroutine for
        return getattr(self._coroutine, name)


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Begins to time the coroutines of tasks created on this loop. A second call on the same loop does nothing.

    A task factory that was there before still makes the tasks.
    """
    before = loop.get_task_factory()
    if getattr(before, "times_steps", False):
        return

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Future[Any]:
        context: Context | None = options.get("context")
        owner = _current.get() if context is None else context.get(_current)
        if owner is not None and asyncio.iscoroutine(coroutine):
            coroutine = _TimedCoroutine(coroutine, *owner)
        make: Callable[..., asyncio.Future[Any]] = before or _new_task
        return make(loop, coroutine, **options)

    factory.times_steps = True  # type: ignore[attr-defined]
    loop.set_task_factory(factory)


def _new_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Future[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)
