"""One trace of a source as a source of its own: what an address pasted from Jaeger's page means to every command."""

from __future__ import annotations

from collections.abc import Iterator

from firstword.tuning.notes import Report
from firstword.tuning.sources import Query, SourceError, TraceSource
from firstword.tuning.spans import Trace


class OneTrace:
    """The trace of that id, where `source` has it."""

    def __init__(self, source: TraceSource, trace_id: str) -> None:
        self._source, self._trace_id = source, trace_id.lower()

    @property
    def name(self) -> str:
        """What it is, for the first line a command prints."""
        return f"trace {self._trace_id} of {self._source.name}"

    def traces(self, query: Query, report: Report) -> Iterator[Trace]:
        """Returns the file's one trace, if the query wants it. Raises SourceError where the file has no trace."""
        trace = self._source.trace(self._trace_id, report)
        if trace is None:
            raise SourceError(f"no trace {self._trace_id} in {self._source.name}")
        if query.wants(trace):
            yield trace

    def trace(self, trace_id: str, report: Report) -> Trace | None:
        """The trace, by its own id alone."""
        asked = trace_id.lower().lstrip("0")
        return self._source.trace(self._trace_id, report) if asked == self._trace_id.lstrip("0") else None

    def of_session(self, session: str, query: Query, report: Report) -> Iterator[Trace]:
        """The trace, whatever is asked for: who asks looks whether it is that session's."""
        return self.traces(query, report)

    def page(self, trace_id: str) -> str | None:
        """The address of the trace in Jaeger."""
        return self._source.page(trace_id)
