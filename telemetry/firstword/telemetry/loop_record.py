"""What an event loop did: each callback that it ran, when, and which other callback or event was its cause.

Written by `firstword.telemetry.loop_hooks` while a caller waits, read by `firstword.telemetry.observed_path` afterwards. So only
code objects, instruction offsets and times are kept here; file names and lines are worked out later.

A callback that ran is a `Step`. An asyncio task runs in many of them: what belongs to the task is its `Life`.
Times are whole nanoseconds on the record's clock, which is the event loop's own by default.
"""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import sys
import threading
import time
import weakref
from asyncio import events
from collections.abc import Callable
from enum import Enum, auto
from types import AsyncGeneratorType, BuiltinMethodType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, cast

from firstword.telemetry.source_lines import is_users

Frames = tuple[tuple[CodeType, int], ...]
"""Functions that call or await each other, the outermost first: code and the offset of the instruction reached."""

MOST_STEPS = 20_000
"""Steps of one record; a start has some 1,500. Past that the record gives up, so that memory is bounded (some 10 MB)."""
LEAST_WAIT = 50_000
"""Nanoseconds: where a task waited for less, its chain of awaits is not worth its time."""
LONG_STEP = 1_000_000
"""Nanoseconds: a step that held the loop for longer is worth a name."""
_MOST_FRAMES = 64
_OPAQUE = frozenset({"coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"})
"""Types that do not say whom they await, except to the garbage collector."""
_TASKS: tuple[type[Any], ...] = (asyncio.Task, vars(asyncio.tasks)["_PyTask"])
_LOOP_CODE: CodeType = vars(events.Handle)["_run"].__code__
"""Who stands below every callback on the Python stack."""


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
        self.detail: Timer | Event | Call | None = None
        self.life: Life | None = None
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


class Call:
    """A call in an executor. What it is wrapped in is called by a thread of the executor."""

    __slots__ = (
        "__weakref__",
        "began",
        "ended",
        "function",
        "future",
        "name",
        "record",
        "step",
        "submitted",
        "submitted_at",
    )

    def __init__(self, record: LoopRecord, function: Callable[..., Any], submitted_at: Frames) -> None:
        self.record = record
        self.function = function
        self.name = _name_of(function)
        self.step = record.current
        self.submitted = record.clock()
        self.submitted_at = submitted_at
        self.began = self.ended = 0
        """0 where unknown: it hasn't yet, or it is in another process."""
        self.future: Callable[[], object] | None = None
        """A weak reference to the loop's future of the result."""

    def __call__(self, *arguments: Any) -> Any:
        """Run the function, in a thread of the executor."""
        self.began = self.record.clock()
        _thread.call = weakref.ref(self)
        try:
            return self.function(*arguments)
        finally:
            self.ended = self.record.clock()
            # a thread that waits for its next call keeps nothing of the last one alive
            self.function = _nothing


class _Thread(threading.local):
    call: Callable[[], Call | None] | None = None
    """A weak reference to the executor's call that this thread runs, or ran last."""


_thread = _Thread()


class _Watch:
    """A descriptor that the loop watches."""

    __slots__ = ("descriptor", "handle", "is_socket", "writing")

    def __init__(self, descriptor: int, writing: bool, handle: object) -> None:
        self.descriptor = descriptor
        self.writing = writing
        self.handle = handle
        """Kept, so that no other handle gets its id."""
        self.is_socket = _is_socket(descriptor)


class LoopRecord:
    """The record of one event loop. Its methods are called by the hooks, in the loop's thread where nothing else is said.

    clock: ns; by default that of the loop's timers. on_full: called once when it gives up.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], int] | None = None,
        on_full: Callable[[LoopRecord], None] | None = None,
    ) -> None:
        self.loop = loop
        self.clock = clock or time.monotonic_ns
        self.thread = threading.get_ident()
        self.begin = self.clock()
        self.steps: list[Step] = []
        """In the order in which they began."""
        self.current: Step | None = None
        """The step that runs now."""
        self.lost: str | None = None
        """Why the record gave up, in words; None where it did not."""
        self.users = 0
        self._on_full = on_full
        self._timers_begin = self.begin - round(loop.time() * 1e9)
        self._scheduled: dict[int, Step] = {}
        self._lives: dict[int, Life] = {}
        self._watches: dict[int, _Watch] = {}
        self._watched: dict[tuple[int, bool], int] = {}
        self._requests: dict[tuple[int, bool], tuple[Step | None, int]] = {}
        self._calls: dict[int, Call] = {}
        self._first: Step | None = None

    def begin_inside(self, task: asyncio.Task[Any] | None) -> None:
        """The record begins inside a callback that no hook saw begin; `task` runs in it.

        It counts as a step that ends when the next one begins, so something must be scheduled.
        """
        step = self._first = self.current = Step(Origin.BEGIN, None, self.begin)
        step.begin = self.begin
        self.steps.append(step)
        if task is not None:
            step.life = self._life(task, ())
            step.life.last = step

    def handle_made(self, handle: Any) -> None:
        """Something was scheduled; in any thread."""
        now = self.clock()
        if threading.get_ident() != self.thread:
            call = self._call_of(handle)
            step = Step(Origin.OUTSIDE if call is None else Origin.EXECUTOR, None if call is None else call.step, now)
            step.detail = call
        else:
            step = Step(Origin.SOON, self.current, now)
            if isinstance(handle, events.TimerHandle):
                step.origin = Origin.TIMER
                step.detail = Timer(users_frame())
            callback = handle._callback
            # a wake-up of a task in C is a builtin method, its first step is not
            if type(callback) is not BuiltinMethodType:
                task = getattr(callback, "__self__", None)
                if isinstance(task, _TASKS) and self._known(task) is None:
                    self._life(task, users_frame())
        self._scheduled[id(handle)] = step

    def task_made(self, task: asyncio.Task[Any]) -> None:
        """A task was made. It is new here only where its first step ran at once, inside the current one (eager tasks)."""
        if self._known(task) is None:
            life = self._life(task, users_frame())
            life.last, life.since = self.current, self.clock()

    def watching(self, descriptor: int, writing: bool, handle: object) -> None:
        """The loop watches a descriptor, and runs the handle each time it is ready."""
        self._scheduled.pop(id(handle), None)
        self._watches.pop(self._watched.get((descriptor, writing), 0), None)
        self._watched[descriptor, writing] = id(handle)
        self._watches[id(handle)] = _Watch(descriptor, writing, handle)

    def ready(self, handle: object) -> None:
        """A descriptor is ready, so its handle will run."""
        watch = self._watches.get(id(handle))
        if watch is None:
            return
        step_asking, asked = self._requests.pop((watch.descriptor, watch.writing), (None, 0))
        step = Step(Origin.DESCRIPTOR, step_asking, self.clock())
        step.detail = Event(watch.is_socket, asked)
        self._scheduled[id(handle)] = step

    def asked(self, descriptor: int, *, writing: bool = False) -> None:
        """Something was written: the next read event answers it. writing: a connection is asked for; the next write event answers."""
        self._requests[descriptor, writing] = (self.current, self.clock())

    def submitted(self, function: Callable[..., Any]) -> Call:
        """A function is handed to an executor."""
        return Call(self, function, users_frame())

    def submitted_as(self, call: Call, future: object) -> None:
        """The loop's future of a call in an executor."""
        call.future = weakref.ref(future)
        self._calls[id(future)] = call

    def begin_step(self, handle: Any) -> Step | None:
        """A callback begins. None: it is not recorded."""
        now = self.clock()
        if self._first is not None:
            self._end_first(now)
        if len(self.steps) >= MOST_STEPS:
            self.give_up(f"more than {MOST_STEPS} callbacks before the first word")
            return None
        step = self._scheduled.pop(id(handle), None) or Step(Origin.OUTSIDE, None, self.begin)
        step.begin = now
        if isinstance(handle, events.TimerHandle):
            due = self._timers_begin + round(handle.when() * 1e9)
            if step.detail is None:  # set before the record began
                step.scheduled = due
            else:
                cast("Timer", step.detail).due = due
        task: asyncio.Task[Any] | None = getattr(handle._callback, "__self__", None)
        if task is not None and isinstance(task, _TASKS):
            life = step.life = self._known(task) or self._life(task, ())
            step.previous, step.waited_since = life.last, life.since
            if life.since is None or now - life.since > LEAST_WAIT:
                step.waited_in = await_chain(task.get_coro())
            life.last = step
        step.outer, self.current = self.current, step
        self.steps.append(step)
        return step

    def end_step(self, step: Step, handle: Any) -> None:
        """The callback has ended."""
        now = step.end = self.clock()
        self.current = step.outer
        life = step.life
        if life is not None:
            life.since = now
        if now - step.begin > LONG_STEP:
            task = None if life is None else life.task()
            if task is not None and not task.done():
                step.reached = await_chain(task.get_coro())
            elif life is None and handle._callback is not None:
                step.name = _name_of(handle._callback)

    def waiting(self, task: asyncio.Task[Any]) -> Step | None:
        """A step as if the task went on now, for who asks what it still waits for. None where the record has not seen it."""
        life = self._known(task)
        if life is None:
            return None
        step = Step(Origin.OUTSIDE, None, self.clock())
        step.begin = step.scheduled
        step.life, step.previous, step.waited_since = life, life.last, life.since
        step.waited_in = () if task.done() else await_chain(task.get_coro())
        return step

    def give_up(self, why: str) -> None:
        """Record no more, and keep nothing."""
        if self.lost is None:
            self.lost = why
            self.forget()
            if self._on_full is not None:
                self._on_full(self)

    def forget(self) -> None:
        """Keep nothing of what only recording needs; of a lost record nothing at all."""
        self._scheduled.clear()
        self._lives.clear()
        self._watches.clear()
        self._watched.clear()
        self._requests.clear()
        self._calls.clear()
        if self.lost is not None:
            self.steps.clear()
            self.current = self._first = None

    def _end_first(self, now: int) -> None:
        first, self._first, self.current = self._first, None, None
        assert first is not None  # noqa: S101 # the caller saw to it
        first.end = now
        if first.life is not None:
            first.life.since = now

    def _known(self, task: asyncio.Task[Any]) -> Life | None:
        life = self._lives.get(id(task))
        return life if life is not None and life.task() is task else None

    def _life(self, task: asyncio.Task[Any], made_at: Frames) -> Life:
        life = self._lives[id(task)] = Life(task, self.current, made_at)
        return life

    def _call_of(self, handle: Any) -> Call | None:
        """The executor's call that another thread schedules this for: it runs there, or this hands its result to the loop."""
        call = None if _thread.call is None else _thread.call()
        result_of = handle._args[0] if handle._args else None
        if call is not None and call.record is self:
            future = None if call.future is None else call.future()
            if not call.ended or future is None or future is result_of:
                return call
        call = self._calls.get(id(result_of))
        return call if call is not None and call.future is not None and call.future() is result_of else None


def await_chain(awaitable: Any) -> Frames:
    """Where a coroutine that is suspended waits: it, whom it awaits, and so on."""
    frames: list[tuple[CodeType, int]] = []
    for _ in range(_MOST_FRAMES):
        kind = cast("type[Any]", type(awaitable))
        frame: FrameType | None
        if kind is CoroutineType:
            frame, awaitable = awaitable.cr_frame, awaitable.cr_await
        elif kind is GeneratorType:
            frame, awaitable = awaitable.gi_frame, awaitable.gi_yieldfrom
        elif kind is AsyncGeneratorType:
            frame, awaitable = awaitable.ag_frame, awaitable.ag_await
        elif kind.__name__ in _OPAQUE:
            frame, awaitable = None, next(filter(_has_frame, gc.get_referents(awaitable)), None)
        elif hasattr(awaitable, "cr_frame"):  # somebody's own class of coroutines
            frame, awaitable = awaitable.cr_frame, awaitable.cr_await
        else:
            break
        if frame is not None:
            frames.append((frame.f_code, frame.f_lasti))
    return tuple(frames)


def users_frame() -> Frames:
    """The innermost frame of the user's on this thread's Python stack, above the event loop; empty where there is none."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] # what inspect.currentframe is
    for _ in range(_MOST_FRAMES):
        if frame is None or frame.f_code is _LOOP_CODE:
            break
        if is_users(frame.f_code.co_filename):
            return ((frame.f_code, frame.f_lasti),)
        frame = frame.f_back
    return ()


def stack_of(frame: FrameType | None) -> Frames:
    """The Python stack of a thread above the event loop, the innermost `_MOST_FRAMES` of it."""
    frames: list[tuple[CodeType, int]] = []
    while frame is not None and frame.f_code is not _LOOP_CODE and len(frames) < _MOST_FRAMES:
        frames.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(reversed(frames))


def _has_frame(referent: object) -> bool:
    return isinstance(referent, (CoroutineType, GeneratorType, AsyncGeneratorType))


def _code_of(coroutine: Any) -> CodeType | None:
    return getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)


def _name_of(function: Any) -> str:
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


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False
