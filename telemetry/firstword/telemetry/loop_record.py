"""Records what an event loop did: each callback that it ran, when, and which other callback or event was its cause.

Written by `firstword.telemetry.loop_hooks` while a caller waits, read by `firstword.telemetry.observed_path`
afterwards. So only code objects, instruction offsets and times are kept here; file names and lines are worked out
later.

Times are whole nanoseconds on the record's clock, which is the event loop's own by default.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
import weakref
from asyncio import events
from collections.abc import Callable
from types import BuiltinMethodType
from typing import Any, NamedTuple, cast

from firstword.telemetry.frames import Frames, await_chain, users_frame
from firstword.telemetry.livekit_private import NATIVE_EVENT, NATIVE_SOUND
from firstword.telemetry.loop_steps import (
    CallerSound,
    Event,
    ExecutorCall,
    Life,
    Origin,
    Step,
    Timer,
    call_of_thread,
    name_of,
)

MOST_STEPS = 20_000
"""Most steps of one record, so that memory is bounded (some 10 MB). Beyond that the record gives up. LiveKit's
quickstart has 707 to 907.
"""
LEAST_WAIT = 50_000
"""Nanoseconds. If a task waited for less, its chain of awaits is not recorded: that would take too long."""
LONG_STEP = 1_000_000
"""Nanoseconds. A step that held the loop for longer gets a name."""
MOST_REQUESTS = 4
"""Most writes to a descriptor without an answer that count as requests, each with an answer of its own. More are a stream:
what comes then answers the last.
"""
_TASKS: tuple[type[Any], ...] = (asyncio.Task, vars(asyncio.tasks)["_PyTask"])


class _Watch:
    """A descriptor that the loop watches."""

    __slots__ = ("descriptor", "handle", "is_socket", "writing")

    def __init__(self, descriptor: int, writing: bool, handle: object) -> None:
        self.descriptor = descriptor
        self.writing = writing
        self.handle = handle
        """Kept, so that no other handle gets its id."""
        self.is_socket = _is_socket(descriptor)


class _Exchange:
    """What was asked on a descriptor, and what it brought."""

    __slots__ = ("answered", "brought", "owner", "requests", "written")

    def __init__(self, owner: object, brought: Step | None = None) -> None:
        self.owner = weakref.ref(owner)
        """The socket: another one may have the same descriptor later."""
        self.requests: list[_Request] = []
        """Of the last writes without an answer in between, those that have none."""
        self.written = 0
        """How many writes there were without an answer in between."""
        self.answered = False
        """Whether it brought something since the last write."""
        self.brought = brought
        """What it brought last."""

    def ask(self, step: Step | None, now: int) -> None:
        """Note a write. Those before an answer got it: nothing more is awaited for them."""
        if self.answered or not self.written:
            self.requests.clear()
            self.written, self.answered = 0, False
        self.written += 1
        ready = self.requests[0].ready if self.requests else self.brought
        if self.written > MOST_REQUESTS:
            self.requests.clear()
        self.requests.append(_Request(step, now, ready))

    def answer(self) -> _Request:
        """Note that it brings something. Returns what that answers: the first request that has no answer yet."""
        self.answered = True
        return self.requests.pop(0) if self.requests else _NOTHING


class _Request(NamedTuple):
    step: Step | None
    asked: int
    ready: Step | None
    """What the descriptor had brought last before."""


_NOTHING = _Request(None, 0, None)


class LoopRecord:
    """The record of what one event loop ran. The hooks call its methods, in the loop's thread unless a method says
    otherwise.

    clock: ns; by default that of the loop's timers. on_full: called once when the record gives up.
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
        """The steps in the order in which they began."""
        self.current: Step | None = None
        """The step that runs now."""
        self.lost: str | None = None
        """Why the record gave up, in words; None if it did not."""
        self.users = 0
        self._on_full = on_full
        self._timers_begin = self.begin - round(loop.time() * 1e9)
        self._scheduled: dict[int, Step] = {}
        self._lives: dict[int, Life] = {}
        self._watches: dict[int, _Watch] = {}
        self._watched: dict[tuple[int, bool], int] = {}
        self._exchanges: dict[int, _Exchange] = {}
        self._connecting: dict[int, tuple[Callable[[], object], _Request]] = {}
        self._calls: dict[int, ExecutorCall] = {}
        self._first: Step | None = None

    def begin_inside(self, task: asyncio.Task[Any] | None) -> None:
        """Begins the record inside a callback that no hook saw begin, and in which `task` runs.

        The callback counts as a step that ends when the next one begins, so something must be scheduled.
        """
        step = self._first = self.current = Step(Origin.BEGIN, None, self.begin)
        step.begin = self.begin
        self.steps.append(step)
        if task is not None:
            step.life = self._life(task, None)
            step.life.last = step

    def handle_made(self, handle: Any) -> None:
        """Records that something was scheduled, by the step that runs now, by an executor's call or by another thread.
        In any thread.
        """
        now = self.clock()
        if threading.get_ident() != self.thread:
            call = self._call_of(handle)
            step = Step(Origin.OUTSIDE if call is None else Origin.EXECUTOR, None if call is None else call.step, now)
            step.detail = CallerSound() if call is None and _is_sound(handle) else call
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
        """Records a new asyncio task, if it is not known yet. That is so only if its first step ran inside the current
        one (eager tasks).
        """
        if self._known(task) is None:
            life = self._life(task, users_frame())
            life.last, life.since = self.current, self.clock()

    def watching(self, descriptor: int, writing: bool, handle: object) -> None:
        """Records that the loop watches a descriptor, and runs the handle each time it is ready."""
        self._scheduled.pop(id(handle), None)
        self._watches.pop(self._watched.get((descriptor, writing), 0), None)
        self._watched[descriptor, writing] = id(handle)
        self._watches[id(handle)] = _Watch(descriptor, writing, handle)

    def ready(self, handle: object) -> None:
        """Records that a watched descriptor is ready, so that its handle will run."""
        watch = self._watches.get(id(handle))
        if watch is None:
            return
        connecting = self._connecting.pop(watch.descriptor, None) if watch.writing else None
        exchange = self._exchanges.get(watch.descriptor)
        request = _NOTHING
        if connecting is not None:
            owner, request = connecting
            if (socket := owner()) is not None:
                exchange = self._exchanges[watch.descriptor] = _Exchange(socket)
        elif exchange is not None and not watch.writing:
            request = exchange.answer()
        step = Step(Origin.DESCRIPTOR, request.step, self.clock())
        step.detail = Event(watch.descriptor, watch.is_socket, request.asked, request.ready)
        if exchange is not None and (connecting is not None or not watch.writing):
            exchange.brought = step
        self._scheduled[id(handle)] = step

    def asked(self, descriptor: int, owner: object, *, writing: bool = False) -> None:
        """Records that the current step wrote to a descriptor: a read event is the answer. Of several requests without
        an answer in between, the first is answered first.

        owner: the socket. writing: it asked for a connection, and the next write event is the answer.
        """
        now = self.clock()
        if writing:
            self._connecting[descriptor] = weakref.ref(owner), _Request(self.current, now, None)
            return
        exchange = self._exchanges.get(descriptor)
        if exchange is None or exchange.owner() is not owner:
            exchange = self._exchanges[descriptor] = _Exchange(owner)
        exchange.ask(self.current, now)

    def submitted(self, function: Callable[..., Any]) -> ExecutorCall:
        """Records that the current step hands a function to an executor. Returns the call, which runs the function."""
        return ExecutorCall(function, self, self.clock(), self.current, users_frame())

    def submitted_as(self, call: ExecutorCall, future: object) -> None:
        """Records which future of the loop stands for a call in an executor."""
        call.future = weakref.ref(future)
        self._calls[id(future)] = call

    def begin_step(self, handle: Any) -> Step | None:
        """Records that a callback begins. Returns its step, or None if the record is full and gives up."""
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
        if isinstance(task, _TASKS):
            life = step.life = self._known(task) or self._life(task, None)
            step.previous, step.waited_since = life.last, life.since
            if life.since is None or now - life.since > LEAST_WAIT:
                step.waited_in = await_chain(task.get_coro())
            life.last = step
        step.outer, self.current = self.current, step
        self.steps.append(step)
        return step

    def end_step(self, step: Step, handle: Any) -> None:
        """Records that the callback of this step has ended."""
        now = step.end = self.clock()
        self.current = step.outer
        is_long = now - step.begin > LONG_STEP
        life = step.life
        if life is not None:
            life.since = now
            task = life.task()
            if task is None or task.done():
                step.ended_task = True
            elif is_long:
                step.reached = await_chain(task.get_coro())
        elif is_long and handle._callback is not None:
            step.name = name_of(handle._callback)

    def waiting(self, task: asyncio.Task[Any]) -> Step | None:
        """Returns a step as if the task went on now, to find what it still waits for. None if the record has not seen
        the task.
        """
        life = self._known(task)
        if life is None:
            return None
        step = Step(Origin.OUTSIDE, None, self.clock())
        step.begin = step.scheduled
        step.life, step.previous, step.waited_since = life, life.last, life.since
        step.waited_in = None if task.done() else await_chain(task.get_coro())
        return step

    def give_up(self, why: str) -> None:
        """Ends the record, drops all it holds, and keeps the reason `why`. Only the first call counts."""
        if self.lost is None:
            self.lost = why
            self.forget()
            if self._on_full is not None:
                self._on_full(self)

    def forget(self) -> None:
        """Drops what only recording needs. If the record was lost, drops its steps too."""
        self._scheduled.clear()
        self._lives.clear()
        self._watches.clear()
        self._watched.clear()
        self._exchanges.clear()
        self._connecting.clear()
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

    def _life(self, task: asyncio.Task[Any], made_at: Frames | None) -> Life:
        life = self._lives[id(task)] = Life(task, self.current, made_at)
        return life

    def _call_of(self, handle: Any) -> ExecutorCall | None:
        """The executor's call that another thread schedules this for: it runs there, or this hands its result to the loop."""
        call = call_of_thread()
        result_of = handle._args[0] if handle._args else None
        if call is not None and call.owner is self:
            future = None if call.future is None else call.future()
            if not call.has_ended or future is None or future is result_of:
                return call
        call = self._calls.get(id(result_of))
        return call if call is not None and call.future is not None and call.future() is result_of else None


def _is_sound(handle: Any) -> bool:
    """Whether what another thread schedules hands over a frame of a caller's sound."""
    event: Any = handle._args[0] if handle._args else None
    if type(event).__name__ != NATIVE_EVENT.name:
        return False
    try:
        return event.HasField(NATIVE_SOUND)
    except (AttributeError, ValueError):  # another class of that name, or one without that field
        return False


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False
