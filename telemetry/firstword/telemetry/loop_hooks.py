"""Wraps asyncio's own methods while somebody records, to write a `firstword.telemetry.loop_record`.

All that a loop runs is an `asyncio.Handle`: its making is the scheduling, its `_run` the callback. The callbacks
themselves stay as they are. A hook records and then calls what it wraps; what goes wrong in recording ends the record,
never the agent's call.

Private to asyncio, the same in CPython 3.11 to 3.13; tests/telemetry/test_loop_hooks.py fails when that moves:

- `Handle.__init__` and `_run`, and of a handle `_callback`, `_args`, `_loop` and `_when`.
- `BaseEventLoop._add_callback`, and `BaseSelectorEventLoop._add_reader`, `_add_writer` and `_selector`.
- The transports of sockets, with `_loop`, `_sock` and `_sock_fd`.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import base_events, events, selector_events
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import iscoroutinefunction
from typing import Any

from firstword.telemetry.hooks import Function, HookPlace, Hooks
from firstword.telemetry.loop_record import LoopRecord
from firstword.telemetry.observable import why_not

_records: dict[asyncio.AbstractEventLoop, LoopRecord] = {}
"""By loop, of those that are recorded now. The hooks ask it each time, in any thread."""
_lock = threading.RLock()


class Unobservable(Exception):
    """Raised when an event loop can't be recorded. The message says why, as `firstword.telemetry.observable` does."""


def start_record(loop: asyncio.AbstractEventLoop, *, clock: Callable[[], int] | None = None) -> LoopRecord:
    """Begins to record what the loop does, and returns the record. Call it in the loop's thread.

    A loop that is recorded already has one record for all its users. Each of them gives it back with `stop_record`.
    clock: ns, as for `LoopRecord`. Raises Unobservable.
    """
    if reason := why_not(loop):
        raise Unobservable(reason)
    with _lock:
        record = _records.get(loop)
        if record is None:
            _hooks.use()
            record = LoopRecord(loop, clock=clock, on_full=_drop)
            _watch_what_is_watched(record)
            if loop.is_running():
                record.begin_inside(asyncio.current_task(loop))
            _records[loop] = record
            if loop.is_running():
                loop.call_soon(_mark)  # the callback that is running ends where the next one begins
        record.users += 1
    return record


def stop_record(record: LoopRecord) -> None:
    """Gives a record back, in any thread. After its last user nothing is recorded any more; what it holds stays."""
    with _lock:
        record.users -= 1
        if record.users == 0:
            _remove(record)
            record.forget()


def _drop(record: LoopRecord) -> None:
    """A record that gave up needs no hooks."""
    with _lock:
        _remove(record)


def _remove(record: LoopRecord) -> None:
    if _records.get(record.loop) is record:
        del _records[record.loop]
        _hooks.release()


def _mark() -> None:
    """A callback that does nothing."""


def _watch_what_is_watched(record: LoopRecord) -> None:
    selector: Any = vars(record.loop).get("_selector")
    for key in list(selector.get_map().values()):
        reader, writer = key.data
        if reader is not None:
            record.watching(key.fd, False, reader)
        if writer is not None:
            record.watching(key.fd, True, writer)


def _failed(record: LoopRecord, error: Exception) -> None:
    record.give_up(f"the record failed: {type(error).__qualname__}")


def _handle_init(original: Function) -> Function:
    def __init__(self: Any, callback: Any, args: Any, loop: Any, context: Any = None) -> None:
        original(self, callback, args, loop, context)
        if self._source_traceback:  # in debug mode: without this frame, as its makers expect
            del self._source_traceback[-1]
        record = _records.get(loop)
        if record is not None:
            try:
                record.handle_made(self)
            except Exception as error:
                _failed(record, error)

    return __init__


def _handle_run(original: Function) -> Function:
    def _run(self: Any) -> Any:
        record = _records.get(self._loop)
        if record is None:
            return original(self)
        step = None
        try:
            step = record.begin_step(self)
        except Exception as error:
            _failed(record, error)
        try:
            return original(self)
        finally:
            if step is not None:
                try:
                    record.end_step(step, self)
                except Exception as error:
                    _failed(record, error)

    return _run


def _add_callback(original: Function) -> Function:
    def _add_callback(self: Any, handle: Any) -> Any:
        record = _records.get(self)
        if record is not None:
            try:
                record.ready(handle)
            except Exception as error:
                _failed(record, error)
        return original(self, handle)

    return _add_callback


def _adds(writing: bool) -> Callable[[Function], Function]:
    def wrap(original: Function) -> Function:
        def _add(self: Any, fd: Any, callback: Any, *args: Any) -> Any:
            handle = original(self, fd, callback, *args)
            record = _records.get(self)
            if record is not None:
                try:
                    record.watching(_descriptor(fd), writing, handle)
                except Exception as error:
                    _failed(record, error)
            return handle

        return _add

    return wrap


def _transport_writes(original: Function) -> Function:
    def write(self: Any, *args: Any, **options: Any) -> Any:
        record = _records.get(self._loop)
        if record is not None:
            try:
                record.asked(self._sock_fd, self._sock)
            except Exception as error:
                _failed(record, error)
        return original(self, *args, **options)

    return write


def _loop_writes(writing: bool) -> Callable[[Function], Function]:
    def wrap(original: Function) -> Function:
        def write(self: Any, sock: Any, *args: Any, **options: Any) -> Any:
            record = _records.get(self)
            if record is not None:
                try:
                    record.asked(_descriptor(sock), sock, writing=writing)
                except Exception as error:
                    _failed(record, error)
            return original(self, sock, *args, **options)

        return write

    return wrap


def _run_in_executor(original: Function) -> Function:
    def run_in_executor(self: Any, executor: Any, func: Any, *args: Any) -> Any:
        record = _records.get(self)
        if record is None:
            return original(self, executor, func, *args)
        call = None
        try:
            call = record.submitted(func)
            # an executor of processes pickles the function
            if isinstance(executor, ThreadPoolExecutor | None) and not iscoroutinefunction(func):
                func = call
        except Exception as error:
            _failed(record, error)
        future = original(self, executor, func, *args)
        if call is not None:
            try:
                record.submitted_as(call, future)
            except Exception as error:
                _failed(record, error)
        return future

    return run_in_executor


def _create_task(original: Function) -> Function:
    def create_task(self: Any, *args: Any, **options: Any) -> Any:
        task = original(self, *args, **options)
        record = _records.get(self)
        if record is not None and not task.done():
            try:
                record.task_made(task)
            except Exception as error:
                _failed(record, error)
        return task

    return create_task


def _descriptor(file: Any) -> int:
    return file if isinstance(file, int) else file.fileno()


_SOCKETS: type[Any] = vars(selector_events)["_SelectorSocketTransport"]
_DATAGRAMS: type[Any] = vars(selector_events)["_SelectorDatagramTransport"]
_LOOP = selector_events.BaseSelectorEventLoop

_PLACES = (
    HookPlace(events.Handle, "__init__", _handle_init),
    HookPlace(events.Handle, "_run", _handle_run),
    HookPlace(base_events.BaseEventLoop, "_add_callback", _add_callback),
    HookPlace(base_events.BaseEventLoop, "create_task", _create_task),
    HookPlace(base_events.BaseEventLoop, "run_in_executor", _run_in_executor),
    HookPlace(_LOOP, "_add_reader", _adds(False)),
    HookPlace(_LOOP, "_add_writer", _adds(True)),
    HookPlace(_LOOP, "sock_connect", _loop_writes(True)),
    HookPlace(_LOOP, "sock_sendall", _loop_writes(False)),
    HookPlace(_LOOP, "sock_sendto", _loop_writes(False)),
    HookPlace(_LOOP, "sock_sendfile", _loop_writes(False)),
    HookPlace(_SOCKETS, "write", _transport_writes),
    HookPlace(_SOCKETS, "writelines", _transport_writes),
    HookPlace(_DATAGRAMS, "sendto", _transport_writes),
)

_hooks = Hooks(lambda: _PLACES)
