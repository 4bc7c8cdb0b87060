"""Traces from a file, or from all files below a folder: a source like `firstword.tuning.jaeger`.

A file in a folder is read if its name is one of traces, and named if it is not. Nothing is left out in silence.
"""

from __future__ import annotations

import heapq
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from firstword.tuning.documents import spans_in
from firstword.tuning.grouping import traces_of
from firstword.tuning.notes import PassedOver, Problem, Report
from firstword.tuning.sources import Query, SourceError, counted
from firstword.tuning.spans import Span, Trace
from firstword.tuning.tally import EXPECTED

TRACE_FILE = re.compile(r".*\.(?:json|jsonl|ndjson)(?:[.-]\d+)?(?:\.gz|\.zst)?", re.DOTALL)
"""Names of the files that are read in a folder; a log's rotation may have added a number, and packed the file."""
_ENDINGS = ".json, .jsonl or .ndjson, also with a number and .gz or .zst after it"
_MOST_NAMED = 3


class Files:
    """A source of traces: one file, or all files below a folder that are named as trace files are, in any form that `documents` reads."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        """name: what to call the source; by default its path."""
        self._path = path
        self._name = name

    @property
    def name(self) -> str:
        """Returns the name of the source, for the first line a command prints."""
        return self._name or str(self._path)

    def traces(self, query: Query, report: Report) -> Iterator[Trace]:
        """Yields the traces that the query wants, with a limit the newest. Raises SourceError where there is no such file or folder."""
        wanted = filter(query.wants, traces_of(self._spans(report), report))
        if query.limit is None:
            yield from counted(wanted, report)
            return
        newest = heapq.nlargest(query.limit, wanted, key=lambda trace: (trace.root.start_ns, trace.trace_id))
        yield from counted(newest, report)

    def trace(self, trace_id: str, report: Report) -> Trace | None:
        """Returns the trace with that id; None where there is none. Lines without the id are not parsed."""
        found = traces_of(self._spans(report, trace_id.lower().zfill(32)), report)
        return next((trace for trace in counted(found, report) if trace.has_id(trace_id)), None)

    def of_session(self, session: str, query: Query, report: Report) -> Iterator[Trace]:
        """Yields all traces of the service, at any time: a session can't be looked up in files."""
        return self.traces(Query(service=query.service), report)

    def page(self, trace_id: str) -> str | None:
        """Returns None: files have no page in Jaeger."""
        return None

    def _spans(self, report: Report, trace_id: str | None = None) -> Iterator[Span]:
        for path in self._files(report):
            where = path.name if path == self._path else str(path.relative_to(self._path))
            try:
                with path.open("rb") as file:
                    yield from spans_in(file, where, report, trace_id=trace_id, asked_for=path == self._path)
            except OSError as error:
                report(Problem(where, error.strerror or str(error), EXPECTED, whole_file=True))

    def _files(self, report: Report) -> list[Path]:
        if self._path.is_file():
            return [self._path]
        if not self._path.is_dir():
            raise SourceError(f"{self._path} is no file and no folder")
        found = self._below(report)
        own = _of_rehearsals(found)
        named = [path for path in found if path not in own and TRACE_FILE.fullmatch(path.name) and path.is_file()]
        others = sorted(set(found) - set(named))
        for path in others:
            report(PassedOver(str(path.relative_to(self._path)), "of a rehearsal" if path in own else _ending(path)))
        if not named:
            raise SourceError(f"{self._path} has no file that ends in {_ENDINGS}{_there_is(others)}")
        return named

    def _below(self, report: Report) -> list[Path]:
        """All files below the folder, in order."""

        def unreadable(error: OSError) -> None:
            report(Problem(str(error.filename), error.strerror or str(error), "a folder to read", whole_file=True))

        return sorted(Path(top, name) for top, _, names in os.walk(self._path, onerror=unreadable) for name in names)


def _ending(path: Path) -> str:
    return path.suffix or "no ending"


def _there_is(others: list[Path]) -> str:
    if not others:
        return ""
    endings = Counter(map(_ending, others)).most_common(_MOST_NAMED)
    return f"; it has {', '.join(f'{count} with {ending}' for ending, count in endings)}"


def _of_rehearsals(found: list[Path]) -> frozenset[Path]:
    """What lies in the folder of a rehearsal and is none of its traces: figures, callers, logs, a worker's caches."""
    traces = {path.parent: path.parent / "traces" for path in found if path.name == "result.json"}
    own = {place for place, folder in traces.items() if folder.is_dir()}
    return frozenset(
        path for path in found if any(traces[place] not in path.parents for place in own.intersection(path.parents))
    )
