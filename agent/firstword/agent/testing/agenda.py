"""Calls functions later: in the order of their time and, at the same time, in the order they were scheduled.

A loop's own timers of one instant run in any order; what one client sends another has to arrive as it was sent.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from weakref import WeakKeyDictionary


@dataclass(order=True)
class Later:
    """A call that is scheduled for `when`, in seconds of the loop's clock, and can be cancelled."""

    when: float
    number: int
    call: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Cancels the scheduled call."""
        self.cancelled = True


class _Agenda:
    def __init__(self) -> None:
        self._due: list[Later] = []
        self._numbers = count()

    def add(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], object]) -> Later:
        entry = Later(loop.time() + seconds, next(self._numbers), call)
        heapq.heappush(self._due, entry)
        loop.call_at(entry.when, self._run, entry.when)
        return entry

    def _run(self, until: float) -> None:
        while self._due and self._due[0].when <= until:
            entry = heapq.heappop(self._due)
            if not entry.cancelled:
                entry.call()


_agendas: WeakKeyDictionary[asyncio.AbstractEventLoop, _Agenda] = WeakKeyDictionary()


def later(seconds: float, call: Callable[[], object]) -> Later:
    """Schedules `call` in so many seconds of the running loop. Returns the entry, which can be cancelled."""
    loop = asyncio.get_running_loop()
    return _agendas.setdefault(loop, _Agenda()).add(loop, seconds, call)
