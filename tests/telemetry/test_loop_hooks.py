"""The hooks in asyncio: there while somebody records, gone afterwards, and never in the way of what the loop does."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
import weakref
from asyncio import base_events, events, selector_events
from collections.abc import Callable
from typing import Any

import pytest

from firstword.telemetry import loop_hooks, loop_record
from firstword.telemetry.loop_hooks import Unobservable, start_record, stop_record
from firstword.telemetry.loop_record import LoopRecord
from firstword.telemetry.observed_path import ObservedKind, observed_path

HOOKED: tuple[tuple[type[Any], str], ...] = (
    (events.Handle, "__init__"),
    (events.Handle, "_run"),
    (base_events.BaseEventLoop, "_add_callback"),
    (base_events.BaseEventLoop, "create_task"),
    (base_events.BaseEventLoop, "run_in_executor"),
    (selector_events.BaseSelectorEventLoop, "_add_reader"),
    (selector_events.BaseSelectorEventLoop, "_add_writer"),
    (selector_events.BaseSelectorEventLoop, "sock_connect"),
    (selector_events.BaseSelectorEventLoop, "sock_sendall"),
    (selector_events.BaseSelectorEventLoop, "sock_sendto"),
    (selector_events.BaseSelectorEventLoop, "sock_sendfile"),
    (vars(selector_events)["_SelectorSocketTransport"], "write"),
    (vars(selector_events)["_SelectorSocketTransport"], "writelines"),
    (vars(selector_events)["_SelectorDatagramTransport"], "sendto"),
)


def methods() -> list[object]:
    """What the hooked classes have themselves under each name; None where they inherit."""
    return [vars(owner).get(name) for owner, name in HOOKED]


@pytest.fixture(autouse=True)
def _all_gone() -> Any:  # pyright: ignore[reportUnusedFunction] # a fixture
    """Whatever a test does, asyncio's classes are as they were."""
    before = methods()
    yield
    assert methods() == before


async def test_every_hook_is_set_and_gone_with_the_last_user() -> None:
    """Two starts of one loop have one record; what each name stands for exists in this CPython."""
    before = methods()
    loop = asyncio.get_running_loop()
    first, second = start_record(loop), start_record(loop)
    assert first is second
    assert all(now is not old for now, old in zip(methods(), before, strict=True))
    stop_record(first)
    assert all(now is not old for now, old in zip(methods(), before, strict=True))
    stop_record(second)
    assert methods() == before


async def test_a_callback_stays_what_it_is() -> None:
    """Nothing is wrapped that the loop is handed: who looks at a handle finds the callback."""
    record = start_record(asyncio.get_running_loop())
    handle: Any = asyncio.get_running_loop().call_soon(print)
    assert handle._callback is print
    handle.cancel()
    stop_record(record)


async def test_in_debug_mode_a_handle_says_where_it_was_made() -> None:
    """By the agent's line, as without us."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    record = start_record(loop)
    handles: list[Any] = [loop.call_soon(print), loop.call_later(1, print)]
    for handle in handles:
        assert handle._source_traceback[-1].filename == __file__
        handle.cancel()
    stop_record(record)


async def test_a_tasks_first_step_is_at_its_function() -> None:
    """It has not waited anywhere yet: what it computes first is its function's, not of who made the task."""

    async def first() -> None:
        """Ends at once."""

    record = start_record(asyncio.get_running_loop())
    await asyncio.create_task(first())
    (step,) = (each for each in record.steps if each.life is not None and each.life.code is first.__code__)
    stop_record(record)
    assert step.waited_in is not None
    assert step.waited_in.codes == (first.__code__,)


async def test_a_record_keeps_no_task_alive() -> None:
    """A result, and what a coroutine holds, go when they would without us."""
    record = start_record(asyncio.get_running_loop())

    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)

    async def work(big: Big) -> Big:
        await asyncio.sleep(0)
        await asyncio.to_thread(str, big)
        return big

    await asyncio.create_task(work(big))
    del big
    await asyncio.sleep(0.01)
    gc.collect()
    assert gone() is None
    stop_record(record)


def test_loops_in_threads_have_a_record_each() -> None:
    """Jobs may be threads of one process; a loop that nobody records is not in anybody's record."""
    records: dict[str, LoopRecord] = {}
    together = threading.Barrier(3)

    async def work(name: str) -> None:
        loop = asyncio.get_running_loop()
        if name != "unrecorded":
            records[name] = start_record(loop)
        together.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        together.wait()
        if name in records:
            stop_record(records[name])

    threads = [threading.Thread(target=asyncio.run, args=(work(name),)) for name in ("one", "other", "unrecorded")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: record.lost for name, record in records.items()} == {"one": None, "other": None}
    assert all(100 < len(record.steps) < 120 for record in records.values())


async def test_whom_somebody_wraps_after_us() -> None:
    """Ours stays below theirs, once, and records for who records later; when theirs is gone, so is ours."""
    loop = asyncio.get_running_loop()
    record = start_record(loop)
    ours: Callable[[Any], Any] = vars(events.Handle)["_run"]
    runs: list[object] = []

    def theirs(handle: Any) -> Any:
        runs.append(handle)
        return ours(handle)

    setattr(events.Handle, "_run", theirs)  # noqa: B010 # pyright would see a private name
    stop_record(record)
    assert vars(events.Handle)["_run"] is theirs
    again = start_record(loop)
    assert vars(events.Handle)["_run"] is theirs
    before = len(again.steps)
    await asyncio.sleep(0)
    assert len(again.steps) - before == len(runs) > 0  # once each
    setattr(events.Handle, "_run", ours)  # noqa: B010
    stop_record(again)


async def test_whom_somebody_wrapped_before_us() -> None:
    """Theirs runs all the same, as LiveKit's `hook_slow_callbacks` does, and is back when ours is gone."""
    original: Callable[[Any], Any] = vars(events.Handle)["_run"]
    runs: list[object] = []

    def theirs(handle: Any) -> Any:
        runs.append(handle)
        return original(handle)

    setattr(events.Handle, "_run", theirs)  # noqa: B010 # pyright would see a private name
    record = start_record(asyncio.get_running_loop())
    await asyncio.sleep(0)
    assert len(record.steps) == len(runs) + 1  # and the one in which the record began
    stop_record(record)
    assert vars(events.Handle)["_run"] is theirs
    setattr(events.Handle, "_run", original)  # noqa: B010


class OtherLoop(asyncio.AbstractEventLoop):
    """A loop that is none of asyncio's, as uvloop's is."""


def test_another_kind_of_loop_is_refused_by_its_class() -> None:
    """And no hook is set."""
    with pytest.raises(Unobservable, match=r"^the event loop is .*OtherLoop; expected asyncio's own"):
        start_record(OtherLoop())


@pytest.mark.parametrize(
    "method",
    ["handle_made", "begin_step", "end_step", "ready", "watching", "asked", "submitted", "submitted_as", "task_made"],
)
async def test_what_fails_in_a_record_never_reaches_the_agent(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record ends and says so; every call of the agent's goes on."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(LoopRecord, method, fail)
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        record = loop_record.LoopRecord(loop)  # made by hand: to start one already calls most of these
        loop_hooks_records()[loop] = record
        loop_hooks_set().use()
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
            writer.write(b"?")
            assert await loop.sock_recv(theirs, 1) == b"?"
            await loop.sock_sendall(theirs, b"!\n")
            assert await reader.readline() == b"!\n"
            assert await asyncio.to_thread(int, "7") == 7
            assert await asyncio.create_task(asyncio.sleep(0, 8)) == 8
            writer.close()
            await writer.wait_closed()
        finally:
            loop_hooks_records().pop(loop, None)
            loop_hooks_set().release()
    assert record.lost == "the record failed: ZeroDivisionError"


def loop_hooks_records() -> dict[asyncio.AbstractEventLoop, LoopRecord]:
    """The records that the hooks write."""
    return vars(loop_hooks)["_records"]


def loop_hooks_set() -> Any:
    """The hooks."""
    return vars(loop_hooks)["_hooks"]


async def test_a_record_that_is_full_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, keeps nothing, and its hooks are gone; the agent goes on."""
    monkeypatch.setattr(loop_record, "MOST_STEPS", 50)
    before = methods()
    record = start_record(asyncio.get_running_loop())
    for _ in range(100):
        await asyncio.sleep(0)
    assert record.lost == "more than 50 callbacks before the first word"
    assert record.steps == []
    assert methods() == before
    stop_record(record)
    assert methods() == before


async def test_a_thread_keeps_no_record_alive() -> None:
    """Threads of an executor outlive a start."""
    record = start_record(asyncio.get_running_loop())
    await asyncio.to_thread(int, "7")
    stop_record(record)
    gone = weakref.ref(record)
    del record
    await asyncio.sleep(0)  # the step that stops it has it on its stack
    gc.collect()
    assert gone() is None


async def test_a_datagram_is_a_request_too() -> None:
    """`sendto` of a transport, and of the loop's own sockets: the wait for the answer is network."""
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as echo:
        echo.bind(("127.0.0.1", 0))

        def answer() -> None:
            _, address = echo.recvfrom(100)
            threading.Event().wait(0.1)
            echo.sendto(b"!", address)

        thread = threading.Thread(target=answer)
        thread.start()
        answered = loop.create_future()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                answered.set_result(data)

        record = start_record(loop)
        transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=echo.getsockname())
        transport.sendto(b"?")
        await answered
        step, now = record.current, record.clock()
        stop_record(record)
        transport.close()
        thread.join()
    pieces = observed_path(step, now, record.begin, record.steps)
    assert sum(p.end - p.start for p in pieces if p.kind is ObservedKind.NETWORK) > 0.09e9


if sys.version_info >= (3, 12):

    async def test_an_eager_task_is_known_from_its_making() -> None:
        """Its first step runs inside the one that makes it: what it waits for is seen all the same."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        record = start_record(loop)
        try:
            await asyncio.create_task(asyncio.sleep(0.1))
            step, now = record.current, record.clock()
        finally:
            loop.set_task_factory(None)
            stop_record(record)
        pieces = observed_path(step, now, record.begin, record.steps)
        assert sum(p.end - p.start for p in pieces if p.kind is ObservedKind.TIMER) > 0.09e9
