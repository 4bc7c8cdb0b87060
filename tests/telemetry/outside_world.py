"""An event loop on virtual time with a world outside of it: providers that answer, threads that end, at instants that a test says.

What happens there happens while the loop waits in its selector, so to the loop it comes from outside, as it does in production.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import count
from typing import Any

Call = Callable[[], object]


class WorldLoop(asyncio.SelectorEventLoop):
    """Time jumps to the next timer, or to what happens outside, when nothing is left to do."""

    def __init__(self) -> None:
        self._ns = 0
        self._happens: list[tuple[int, int, Call]] = []
        self._numbers = count()
        super().__init__(_WorldSelector(self))

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._ns / 1e9

    def clock(self) -> int:
        """The same in ns."""
        return self._ns

    def jump(self, seconds: float) -> None:
        """Compute for so long."""
        self._ns += round(seconds * 1e9)

    def outside(self, seconds: float, call: Call) -> None:
        """Something happens outside after so many seconds."""
        heapq.heappush(self._happens, (self._ns + round(seconds * 1e9), next(self._numbers), call))

    def wait(self, timeout: float | None) -> None:
        """Let time pass until a timer is due, or until what happens outside next has happened."""
        until = None if timeout is None else self._ns + round(timeout * 1e9)
        if self._happens and (until is None or self._happens[0][0] <= until):
            due, _, call = heapq.heappop(self._happens)
            self._ns = max(self._ns, due)
            call()
        elif until is None:
            raise RuntimeError("deadlock: every task waits for another, no timer is set, and nothing happens outside")
        else:
            self._ns = until


class _WorldSelector(selectors.SelectSelector):
    def __init__(self, loop: WorldLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        self._loop.wait(timeout)
        return super().select(0)


def in_thread(call: Call) -> None:
    """Call it in another thread, and wait for that."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


class Elsewhere(Executor):
    """An executor whose calls take so many virtual seconds, and end in another thread."""

    def __init__(self, loop: WorldLoop, seconds: float) -> None:
        self._loop, self._seconds = loop, seconds

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin a call."""
        future: Future[Any] = Future()

        def end() -> None:
            if future.set_running_or_notify_cancel():
                future.set_result(fn(*args, **kwargs))

        self._loop.outside(self._seconds, lambda: in_thread(end))
        return future
