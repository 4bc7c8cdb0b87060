"""What a record of an event loop is made of: the steps that ran, what each came from, and the tasks that they belong to.

A callback that ran is a `Step`. An asyncio task runs in many of them: what belongs to the task is its `Life`.
Written by `firstword.telemetry.loop_record`, read by `firstword.telemetry.observed_path`; times are in ns on the record's clock.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from enum import Enum, auto
from types import CodeType
from typing import Any

from firstword.telemetry.frames import Frames


class Origin(Enum):
    """What a step came from."""

    BEGIN = auto()
    """It was running when the record began."""
    SOON = auto()
    """Another step scheduled it."""
    TIMER = auto()
    DESCRIPTOR = auto()
    """A socket or a pipe became ready."""
    EXECUTOR = auto()
    """The end of a call in an executor, or what that call scheduled."""
    OUTSIDE = auto()
    """Another thread scheduled it, or it was scheduled before the record began."""


class Life:
    """One asyncio task, as far as the record saw it. It does not keep the task alive."""

    __slots__ = ("code", "last", "made_at", "maker", "since", "task")

    def __init__(self, task: asyncio.Task[Any], maker: Step | None, made_at: Frames) -> None:
        self.task = weakref.ref(task)
        self.maker = maker
        self.made_at = made_at
        """The user's innermost frame on the stack when the task was made; empty where there was none."""
        self.code = _code_of(task.get_coro())
        self.last: Step | None = None
        self.since: int | None = None
        """Since when it waits; None where it had not run yet, or began to wait before the record began."""


class Step:
    """One callback that the loop ran."""

    __slots__ = (
        "begin",
        "cause",
        "detail",
        "end",
        "ended_task",
        "life",
        "name",
        "origin",
        "outer",
        "previous",
        "reached",
        "samples",
        "scheduled",
        "waited_in",
        "waited_since",
    )

    def __init__(self, origin: Origin, cause: Step | None, scheduled: int) -> None:
        self.origin = origin
        self.cause = cause
        """The step that scheduled it, wrote the request that was answered, or submitted the call; None: unknown."""
        self.scheduled = scheduled
        """When it was ready to run; of a timer when it was set."""
        self.begin = self.end = 0
        """`end` is 0 while it runs."""
        self.outer: Step | None = None
        """The step that it ran inside of, where a loop is run inside of a callback."""
        self.detail: Timer | Event | ExecutorCall | None = None
        self.life: Life | None = None
        self.ended_task = False
        """Whether the task's coroutine ended in it."""
        self.previous: Step | None = None
        """Of a task: the step at whose end, or in which, it began to wait."""
        self.waited_since: int | None = None
        self.waited_in: Frames = ()
        """Of a task: its chain of awaits before this step, where it waited for long."""
        self.reached: Frames = ()
        """Of a task: its chain of awaits after this step, where the step was long."""
        self.name: str | None = None
        """Of what is no task: the callback's name, where the step was long."""
        self.samples: list[tuple[int, Frames]] | None = None
        """What it was doing at some instants, where it was long."""


class Timer:
    """When a timer was due, and the user's frame that set it."""

    __slots__ = ("due", "set_at")

    def __init__(self, set_at: Frames) -> None:
        self.due = 0
        self.set_at = set_at


class Event:
    """A descriptor that became ready: of a socket or something else."""

    __slots__ = ("asked", "is_socket")

    def __init__(self, is_socket: bool, asked: int) -> None:
        self.is_socket = is_socket
        self.asked = asked
        """When what it answers was written; 0 where it was not asked for."""


class ExecutorCall:
    """A call in an executor. What it is wrapped in is called by a thread of the executor."""

    __slots__ = (
        "__weakref__",
        "function",
        "future",
        "has_ended",
        "name",
        "owner",
        "step",
        "submitted",
        "submitted_at",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        owner: object,
        submitted: int,
        step: Step | None,
        submitted_at: Frames,
    ) -> None:
        self.function = function
        self.name = name_of(function)
        self.owner = owner
        """The record that it is in."""
        self.step = step
        """Which step submitted it."""
        self.submitted = submitted
        self.submitted_at = submitted_at
        """The user's innermost frame then."""
        self.has_ended = False
        self.future: Callable[[], object] | None = None
        """A weak reference to the loop's future of the result."""

    def __call__(self, *arguments: Any) -> Any:
        """Run the function, in a thread of the executor."""
        _thread.call = weakref.ref(self)
        try:
            return self.function(*arguments)
        finally:
            self.has_ended = True
            # a thread that waits for its next call keeps nothing of the last one alive
            self.function = _nothing


class _Thread(threading.local):
    call: Callable[[], ExecutorCall | None] | None = None
    """A weak reference to the executor's call that this thread runs, or ran last."""


_thread = _Thread()


def call_of_thread() -> ExecutorCall | None:
    """The executor's call that this thread runs, or ran last, while somebody keeps it."""
    return None if _thread.call is None else _thread.call()


def _code_of(coroutine: Any) -> CodeType | None:
    return getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)


def name_of(function: Any) -> str:
    """The qualified name of a function, also of one that is wrapped in partials and in `asyncio.to_thread`'s."""
    for _ in range(8):
        inner = getattr(function, "func", None)
        if inner is None:
            break
        # asyncio.to_thread: partial(context.run, function, ...)
        first = next(iter(function.args), None)
        function = first if getattr(inner, "__name__", "") == "run" and callable(first) else inner
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def _nothing(*_: Any) -> None:
    """In place of a function that has been called."""
