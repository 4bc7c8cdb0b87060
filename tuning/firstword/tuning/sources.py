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
    """Which traces are wanted: by time, service and number."""

    since_ns: int | None = None
    """Roots that start no earlier, ns since the Unix epoch."""
    until_ns: int | None = None
    """Roots that start before, ns since the Unix epoch."""
    service: str | None = None
    """Service name of the root's resource (`service.name`)."""
    limit: int | None = None
    """How many traces at most, the newest."""

    def wants(self, trace: Trace) -> bool:
        """Returns whether the trace matches all but `limit`."""
        began = trace.root.start_ns
        return (
            (self.since_ns is None or began >= self.since_ns)
            and (self.until_ns is None or began < self.until_ns)
            and (self.service is None or trace.root.service == self.service)
        )

    @property
    def narrowed(self) -> str:
        """Returns the query in words, as ` with this --since and --service`; empty where all traces are wanted."""
        options = {"--since": self.since_ns, "--until": self.until_ns, "--service": self.service, "--limit": self.limit}
        named = [option for option, value in options.items() if value is not None]
        return f" with this {' and '.join(named)}" if named else ""


class TraceSource(Protocol):
    """A place to read traces from: files, a Jaeger, or one trace of either."""

    @property
    def name(self) -> str:
        """Returns the name of the source, for the first line a command prints."""
        ...

    def traces(self, query: Query, report: Report) -> Iterator[Trace]:
        """Yields the traces that the query wants, in no order. Raises SourceError where nothing can be read at all."""
        ...

    def trace(self, trace_id: str, report: Report) -> Trace | None:
        """Returns the trace with that id; None where the source has none. Raises SourceError as `traces` does."""
        ...

    def of_session(self, session: str, query: Query, report: Report) -> Iterator[Trace]:
        """Yields traces, among them all that have the session's id on a span, and maybe others. Raises SourceError."""
        ...

    def page(self, trace_id: str) -> str | None:
        """Returns the address of the trace in Jaeger, if it is known."""
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
    """Returns LiveKit's ids of the trace's room and job, as its spans have them."""
    found = {span.attributes.get(key) for span in trace.spans for key in (ROOM_SID, JOB_ID)}
    return frozenset(value for value in found if isinstance(value, str))
