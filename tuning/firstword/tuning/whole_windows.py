"""Reads all traces of a stretch of time from a server that gives at most so many an answer and doesn't say in which
order.

Between `firstword.tuning.jaeger`, which asks, and its callers. A window whose answer may not be whole is halved, until
each is. An answer is not whole if it is as long as the limit asked for, or shorter than the server's own count. A
server may also give fewer than it was asked for and not say so. So for an answer longer than any before, its two halves
are tried for others. What came to the server meanwhile is no such other: asked again, it gives that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from firstword.tuning.notes import Note, Report
from firstword.tuning.spans import Trace

_MOST_AT_ONCE = 1000
"""Traces that are asked for where a window can't be halved any more."""


class NotWhole(Exception):
    """Raised where more traces began in one microsecond than the server gives; the message says how many it gives."""


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """What the server gave for one window of time: traces, its own count of them, and notes."""

    traces: list[Trace]
    count: int = 0
    """How many traces there are by the server's own words; 0 where it does not say."""
    notes: list[Note] = field(default_factory=list[Note])

    @property
    def ids(self) -> set[str]:
        """Returns the ids of the traces in the answer."""
        return {trace.trace_id for trace in self.traces}


Ask = Callable[[int, int, int], WindowAnswer]
"""A function that asks for the traces that begin in a window: begin and end in µs (the end left out), and how many at most."""


class WholeWindows:
    """Reads all traces of a window from one server, and remembers how long a whole answer of it may be."""

    def __init__(self, page_size: int) -> None:
        """page_size: how many traces to ask for at once."""
        self._page_size = page_size
        self._trusted = 0
        """An answer of so many was whole."""
        self._cut: int | None = None
        """An answer of so many was not."""

    def traces(self, begin: int, end: int, ask: Ask, report: Report) -> Iterator[Trace]:
        """Yields all traces that begin in a window (µs, the end left out), each once, the newest first. Raises NotWhole."""
        seen: set[str] = set()
        windows = [(begin, end)]
        while windows:
            begin, end = windows.pop()
            most = self._page_size if end - begin > 1 else _MOST_AT_ONCE
            answer = ask(begin, end, most)
            whole = self._whole(begin, end, answer, most, ask)
            if whole is None:
                middle = _middle(begin, end, answer)
                windows += [(begin, middle), (middle, end)]
                continue
            for note in whole.notes:
                report(note)
            for trace in sorted(whole.traces, key=lambda trace: (trace.root.start_ns, trace.trace_id), reverse=True):
                if trace.trace_id not in seen:
                    seen.add(trace.trace_id)
                    yield trace

    def _whole(self, begin: int, end: int, answer: WindowAnswer, most: int, ask: Ask) -> WindowAnswer | None:
        """The answer, or a later one, if it is whole; None where its window is to be halved. Raises NotWhole."""
        length, full = len(answer.traces), self._full(answer, most)
        if end - begin <= 1:
            if full:
                raise NotWhole(f"it gives at most {length} traces an answer, and more began in one microsecond")
            return answer
        if full:
            return None
        if length <= self._trusted:
            return answer
        middle = _middle(begin, end, answer)
        # beside the middle, as whoever began just then would be in both parts
        beside = [window for window in ((begin, middle - 1), (middle + 1, end)) if window[0] < window[1]]
        found = answer.ids.union(*(ask(*window, most).ids for window in beside))
        if found > answer.ids:
            answer = ask(begin, end, most)  # a server's limit holds again, and what came meanwhile is in it
            if self._full(answer, most) or not found <= answer.ids:
                if len(answer.traces) <= length:
                    self._cut = length
                return None
        self._trusted = len(answer.traces)
        return answer

    def _full(self, answer: WindowAnswer, most: int) -> bool:
        """Whether the answer is as long as the server gives, or shorter than its own count."""
        length = len(answer.traces)
        return length >= most or answer.count > length or (self._cut is not None and length >= self._cut)


def _middle(begin: int, end: int, answer: WindowAnswer) -> int:
    """Where half of what came began, so that each part has half of it; a trace may begin outside of the window."""
    begins = sorted(trace.root.start_ns // 1000 for trace in answer.traces)
    middle = begins[len(begins) // 2] if begins else begin
    return middle if begin < middle < end else (begin + end) // 2
