"""Where traces are read from, in one shape for every command: `firstword.tuning.files` and `firstword.tuning.jaeger`.

The way back: bytes -> JSON (`json_documents`) -> spans (`documents`) -> traces (`grouping`) -> what was asked. Everything is
streamed: a source of any size is read in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from firstword.telemetry.vocabulary import JOB_ID, ROOM_SID
from firstword.tuning.notes import Given, Report
from firstword.tuning.spans import Trace


@dataclass(frozen=True, slots=True)
class Query:
    """Which traces are wanted."""

    since_ns: int | None = None
    """Roots that start no earlier, ns since the Unix epoch."""
    until_ns: int | None = None
    """Roots that start before, ns since the Unix epoch."""
    service: str | None = None
    """Of the root's resource (`service.name`)."""
    limit: int | None = None
    """So many at most, the newest."""

    def wants(self, trace: Trace) -> bool:
        """Whether the trace is one of those, its number apart."""
        began = trace.root.start_ns
        return (
            (self.since_ns is None or began >= self.since_ns)
            and (self.until_ns is None or began < self.until_ns)
            and (self.service is None or trace.root.service == self.service)
        )

    @property
    def narrowed(self) -> str:
        """In words: ` with this --since and --service`; empty where all traces are wanted."""
        options = {"--since": self.since_ns, "--until": self.until_ns, "--service": self.service, "--limit": self.limit}
        named = [option for option, value in options.items() if value is not None]
        return f" with this {' and '.join(named)}" if named else ""


class TraceSource(Protocol):
    """Somewhere traces are."""

    @property
    def name(self) -> str:
        """What it is, for the first line a command prints."""
        ...

    def traces(self, query: Query, report: Report) -> Iterator[Trace]:
        """The traces wanted, in no order. Raises SourceError where nothing can be read at all."""
        ...

    def trace(self, trace_id: str, report: Report) -> Trace | None:
        """The trace of that id; None where the source has none. Raises SourceError as `traces` does."""
        ...

    def of_session(self, session: str, query: Query, report: Report) -> Iterator[Trace]:
        """Traces among which all those are that have the session's id on a span. Raises SourceError."""
        ...

    def page(self, trace_id: str) -> str | None:
        """The address of the trace in Jaeger, if it is known."""
        ...


class SourceError(Exception):
    """Raised where nothing can be read from a source. The message says why."""


def counted(traces: Iterable[Trace], report: Report) -> Iterator[Trace]:
    """Yields the same traces, and reports at the end how many there were."""
    count = 0
    try:
        for trace in traces:
            count += 1
            yield trace
    finally:
        report(Given(count))


def session_ids(trace: Trace) -> frozenset[str]:
    """LiveKit's ids of the room and the job that the trace is of."""
    found = {span.attributes.get(key) for span in trace.spans for key in (ROOM_SID, JOB_ID)}
    return frozenset(value for value in found if isinstance(value, str))
