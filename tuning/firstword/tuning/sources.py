"""Where traces are read from, in one shape for every command: files here, Jaeger in `firstword.tuning.jaeger`.

The first station of the way back: bytes -> spans (`firstword.tuning.documents`) -> traces (`firstword.tuning.grouping`) -> what was asked.
Everything is streamed: a source of any size is read in bounded memory.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from firstword.telemetry.vocabulary import JOB_ID, ROOM_SID
from firstword.tuning.documents import EXPECTED, spans_in
from firstword.tuning.grouping import traces_of
from firstword.tuning.spans import Problem, Report, Span, Trace

_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})


@dataclass(frozen=True, slots=True)
class Query:
    """Which traces are wanted."""

    since_ns: int | None = None
    """Roots that start no earlier, ns since the Unix epoch."""
    service: str | None = None
    """Of the root's resource (`service.name`)."""
    limit: int | None = None
    """So many at most, the newest."""

    def wants(self, trace: Trace) -> bool:
        """Whether the trace is one of those, its number apart."""
        return (self.since_ns is None or trace.root.start_ns >= self.since_ns) and (
            self.service is None or trace.root.service == self.service
        )


class Source(Protocol):
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
    """Nothing can be read from the source; the message says why."""


def session_ids(trace: Trace) -> frozenset[str]:
    """LiveKit's ids of the room and the job that the trace is of."""
    found = {span.attributes.get(key) for span in trace.spans for key in (ROOM_SID, JOB_ID)}
    return frozenset(value for value in found if isinstance(value, str))


class Files:
    """A file, or all below a folder that end in .json, .jsonl or .ndjson; OTLP JSON lines or Jaeger JSON."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        """name: what to call the source; by default its path."""
        self._path = path
        self._name = name

    @property
    def name(self) -> str:
        """What it is, for the first line a command prints."""
        return self._name or str(self._path)

    def traces(self, query: Query, report: Report) -> Iterator[Trace]:
        """The traces wanted. Raises SourceError where there is no such file or folder."""
        wanted = filter(query.wants, traces_of(self._spans(report), report))
        if query.limit is None:
            return wanted
        return iter(heapq.nlargest(query.limit, wanted, key=lambda trace: (trace.root.start_ns, trace.trace_id)))

    def trace(self, trace_id: str, report: Report) -> Trace | None:
        """The trace of that id; lines that don't have it aren't parsed."""
        return next(traces_of(self._spans(report, trace_id), report), None)

    def of_session(self, session: str, query: Query, report: Report) -> Iterator[Trace]:
        """All traces of the service, whenever they began."""
        return self.traces(Query(service=query.service), report)

    def page(self, trace_id: str) -> str | None:
        """None: files know no Jaeger."""
        return None

    def _spans(self, report: Report, trace_id: str | None = None) -> Iterator[Span]:
        for path in self._files():
            try:
                with path.open("rb") as file:
                    yield from spans_in(file, self._shown(path), report, trace_id=trace_id)
            except OSError as error:
                report(Problem(self._shown(path), error.strerror or str(error), EXPECTED, whole_file=True))

    def _files(self) -> list[Path]:
        if self._path.is_file():
            return [self._path]
        if not self._path.is_dir():
            raise SourceError(f"{self._path} is no file and no folder")
        found = sorted(path for path in self._path.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
        found = _without_rehearsals_own(found)
        if not found:
            raise SourceError(f"{self._path} has no file that ends in .jsonl or .json")
        return found

    def _shown(self, path: Path) -> str:
        return path.name if path == self._path else str(path.relative_to(self._path))


def _without_rehearsals_own(found: list[Path]) -> list[Path]:
    """Without what lies in the folder of a rehearsal and is none of its traces: figures, callers, a worker's caches."""
    traces = {path.parent: path.parent / "traces" for path in found if path.name == "result.json"}
    own = {place for place, folder in traces.items() if folder.is_dir()}
    return [path for path in found if all(traces[place] in path.parents for place in own.intersection(path.parents))]
