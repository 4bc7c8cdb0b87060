"""The parts of a record of an event loop: the steps that ran, what each came from, and the tasks that they belong to.

A callback that ran is a `Step`. An asyncio task runs in many of them: what belongs to the task is its `Life`. Written
by `firstword.telemetry.loop_record`, read by `firstword.telemetry.observed_path`; times are in ns on the record's
clock.
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
    """What caused a step of the event loop to run."""

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
    """What the record knows of one asyncio task. It does not keep the task alive."""

    __slots__ = ("code", "last", "made_at", "maker", "since", "task")

    def __init__(self, task: asyncio.Task[Any], maker: Step | None, made_at: Frames | None) -> None:
        self.task = weakref.ref(task)
        self.maker = maker
        self.made_at = made_at
        """The user's innermost frame on the stack when the task was made; None if there was none."""
        self.code = _code_of(task.get_coro())
        self.last: Step | None = None
        self.since: int | None = None
        """Since when it waits. None if it had not run yet, or began to wait before the record began."""


class Step:
    """One callback that the loop ran: when, what caused it, and the asyncio task it belongs to."""

    # What most steps lack is a default of the class: each assignment is time that a caller waits.
    begin = 0
    end = 0
    """0 while it runs."""
    outer: Step | None = None
    """The step inside which it ran, if a loop is run inside of a callback."""
    detail: Timer | Event | ExecutorCall | CallerSound | None = None
    life: Life | None = None
    ended_task = False
    """Whether the task's coroutine ended in it."""
    previous: Step | None = None
    """For a task: the step at whose end, or in which, it began to wait."""
    waited_since: int | None = None
    waited_in: Frames | None = None
    """For a task: its chain of awaits before this step, if it waited for long."""
    reached: Frames | None = None
    """For a task: its chain of awaits after this step, if the step was long."""
    name: str | None = None
    """For a callback that is no task's: its name, if the step was long."""
    samples: list[tuple[int, Frames]] | None = None
    """The stacks that were sampled in it, each with its instant, if it was long."""

    def __init__(self, origin: Origin, cause: Step | None, scheduled: int) -> None:
        self.origin = origin
        self.cause = cause
        """The step that scheduled it, wrote the request that it answers, or submitted the call; None if unknown."""
        self.scheduled = scheduled
        """When it was ready to run. For a timer: when the timer was set."""


class Timer:
    """A timer of the event loop: when it was due, and the user's frame that set it."""

    __slots__ = ("due", "set_at")

    def __init__(self, set_at: Frames | None) -> None:
        self.due = 0
        self.set_at = set_at


class Event:
    """A descriptor of a socket or a pipe that became ready."""

    __slots__ = ("asked", "descriptor", "is_socket", "ready")

    def __init__(self, descriptor: int, is_socket: bool, asked: int, ready: Step | None) -> None:
        self.descriptor = descriptor
        self.is_socket = is_socket
        self.asked = asked
        """When the request that it answers was written; 0 if there was none."""
        self.ready = ready
        """What the descriptor had brought last before that request, such as its connection; None if nothing."""


class CallerSound:
    """A frame of a caller's sound, which LiveKit's native client handed over."""

    __slots__ = ()


class ExecutorCall:
    """A call of a function in an executor. A thread of the executor calls this object instead of the function."""

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
        submitted_at: Frames | None,
    ) -> None:
        self.function = function
        self.name = name_of(function)
        self.owner = owner
        """The record that it belongs to."""
        self.step = step
        """The step that submitted it."""
        self.submitted = submitted
        self.submitted_at = submitted_at
        """The user's innermost frame when it was submitted."""
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
    """Returns the executor's call that this thread runs, or ran last. None if there is none, or nobody keeps it any
    more.
    """
    return None if _thread.call is None else _thread.call()


def _code_of(coroutine: Any) -> CodeType | None:
    return getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)


def name_of(function: Any) -> str:
    """Returns the qualified name of a function, also of one that is wrapped in partials or by `asyncio.to_thread`."""
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
