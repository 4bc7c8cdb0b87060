"""What happens later: in the order of its time, and at the same time in the order it was asked for.

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
    """A call that is due at `when`, on the loop's clock."""

    when: float
    number: int
    call: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Don't."""
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
    """Call it after so many seconds of the running loop."""
    loop = asyncio.get_running_loop()
    return _agendas.setdefault(loop, _Agenda()).add(loop, seconds, call)
