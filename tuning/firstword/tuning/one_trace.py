"""One trace of a source as a source of its own: what an address pasted from Jaeger's page means to every command."""

from __future__ import annotations

from collections.abc import Iterator

from firstword.tuning.notes import Report
from firstword.tuning.sources import Query, SourceError, TraceSource
from firstword.tuning.spans import Trace


class OneTrace:
    """A source with one trace alone: the trace with that id in another source."""

    def __init__(self, source: TraceSource, trace_id: str) -> None:
        self._source, self._trace_id = source, trace_id.lower()

    @property
    def name(self) -> str:
        """Returns the name of the source, `trace ID of SOURCE`, for the first line a command prints."""
        return f"trace {self._trace_id} of {self._source.name}"

    def traces(self, query: Query, report: Report) -> Iterator[Trace]:
        """Yields the one trace, if the query wants it. Raises SourceError where the other source does not have it."""
        trace = self._source.trace(self._trace_id, report)
        if trace is None:
            raise SourceError(f"no trace {self._trace_id} in {self._source.name}")
        if query.wants(trace):
            yield trace

    def trace(self, trace_id: str, report: Report) -> Trace | None:
        """Returns the one trace where its own id is asked for, else None."""
        asked = trace_id.lower().lstrip("0")
        return self._source.trace(self._trace_id, report) if asked == self._trace_id.lstrip("0") else None

    def of_session(self, session: str, query: Query, report: Report) -> Iterator[Trace]:
        """Yields the one trace, whichever session is asked for; the caller checks whether it is that session's."""
        return self.traces(query, report)

    def page(self, trace_id: str) -> str | None:
        """Returns the address of the trace in Jaeger; None where the other source knows none."""
        return self._source.page(trace_id)
