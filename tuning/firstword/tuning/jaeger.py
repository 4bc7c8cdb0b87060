"""Traces from Jaeger's query API: version 3 (OTLP), or the classic one where that is all there is.

A source like `firstword.tuning.files`. `firstword.tuning.whole_windows` sees to it that all traces come.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Literal

from firstword.telemetry.vocabulary import JOB_ID, ROOM_SID, ROOT
from firstword.tuning.documents import spans_in
from firstword.tuning.error_answer import words_in
from firstword.tuning.grouping import traces_of
from firstword.tuning.http_get import HttpError, QueryServer
from firstword.tuning.json_shape import as_list, as_object
from firstword.tuning.notes import Note, Problem, Report, Used, Warned
from firstword.tuning.sources import Query, SourceError, counted
from firstword.tuning.spans import Trace
from firstword.tuning.whole_windows import NotWhole, WholeWindows, WindowAnswer
from firstword.tuning.wording import shown

SERVICE = "firstword"
"""The service whose traces are read unless another is named."""
MOST_TRACES = 1000
"""Number of traces that are read unless a limit is given."""
_PAGE = 100
_WEEK_US = 7 * 86_400 * 1_000_000
_CLOCKS_DIFFER_US = 86_400 * 1_000_000
_FAR_FUTURE_US = 4_102_444_800_000_000
"""The year 2100."""
_COUNT = re.compile(rb'"total"\s*:\s*(\d{1,12})')
_COUNT_WITHIN = 300
"""Bytes at the beginning and at the end of a classic answer, where its count stands."""


class Jaeger:
    """A source of traces: the query API of one Jaeger, which is asked for one service at a time."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        page_size: int = _PAGE,
        version: Literal[1, 3] | None = None,
    ) -> None:
        """url: where its query API and page are, `http://HOST:PORT` and a base path if it has one; raises ValueError.

        headers: are sent to it, and to nobody else. page_size: how many traces to ask for at once. version: of the API; by default 3 where it is there.
        """
        self._server = QueryServer(url, headers)
        self._page_size = page_size
        self._windows = WholeWindows(page_size)
        self._v3 = None if version is None else version == 3

    @property
    def name(self) -> str:
        """Returns the name of the source, for the first line a command prints."""
        return f"Jaeger at {self._server.url}"

    def page(self, trace_id: str) -> str | None:
        """Returns the address of the trace on Jaeger's page."""
        return f"{self._server.url}/trace/{trace_id}"

    def traces(self, query: Query, report: Report) -> Iterator[Trace]:
        """Yields the newest traces that the query wants: those with a start-up, or, where the service has none, all of
        its traces.

        Without `since`, yields those of the last week, or of any time if there is none. Raises SourceError, also where
        the server does not give all there are.
        """
        self._check_service(query.service or SERVICE)
        found = self._newest(query, report)
        yield from counted(self._used(islice(found, query.limit or MOST_TRACES), report), report)
        if query.limit is None and next(found, None) is not None:
            report(Warned(self.name, f"it has more than the newest {MOST_TRACES} traces; --limit reads more"))

    def trace(self, trace_id: str, report: Report) -> Trace | None:
        """Returns the trace with that id; None where Jaeger has none."""
        path = f"/api/v3/traces/{trace_id}" if self._has_v3() else f"/api/traces/{trace_id}"
        return next(counted(self._used(iter(self._answer(path, {}, report).traces), report), report), None)

    def of_session(self, session: str, query: Query, report: Report) -> Iterator[Trace]:
        """Yields the traces whose root has this room sid or job id. Where Jaeger finds none, yields the newest traces of the service."""
        service = query.service or SERVICE
        found = False
        for key in (ROOM_SID, JOB_ID):
            parameters = {"service": service, "tags": json.dumps({key: session}), "start": 0, "limit": self._page_size}
            answer = self._answer("/api/traces", parameters, report)
            for trace in counted(self._used(iter(answer.traces), report), report):
                found = True
                yield trace
        if not found:
            yield from self.traces(Query(service=query.service, limit=query.limit), report)

    def _newest(self, query: Query, report: Report) -> Iterator[Trace]:
        now = time.time_ns() // 1000
        end = _FAR_FUTURE_US if query.until_ns is None else query.until_ns // 1000
        latest = min(now + _CLOCKS_DIFFER_US, end)
        week, ever = (min(now, end) - _WEEK_US, latest), (0, end)
        stretches = (week, ever) if query.since_ns is None else ((query.since_ns // 1000, latest),)
        wanted = Query(query.since_ns, query.until_ns)
        for operation in (ROOT, None):
            parameters = {"service": query.service or SERVICE, "operation": operation}
            for begin, end in stretches:
                found = filter(wanted.wants, self._whole(begin, end, parameters, report))
                first = next(found, None)
                if first is not None:
                    yield first
                    yield from found
                    return

    def _whole(self, begin: int, end: int, parameters: Mapping[str, str | None], report: Report) -> Iterator[Trace]:
        try:
            yield from self._windows.traces(begin, end, partial(self._window, parameters), report)
        except NotWhole as error:
            raise SourceError(f"{self.name}: {error}; the rest can't be read") from None

    def _used(self, traces: Iterator[Trace], report: Report) -> Iterator[Trace]:
        """The same traces; how many spans they had is reported at their end."""
        spans = 0
        try:
            for trace in traces:
                spans += len(trace.spans)
                yield trace
        finally:
            report(Used(self.name, spans, noun="service"))

    def _window(self, parameters: Mapping[str, str | None], begin: int, end: int, most: int) -> WindowAnswer:
        """So many traces of a window at most."""
        notes: list[Note] = []
        if self._has_v3():
            asked = {
                "query.service_name": parameters["service"],
                "query.operation_name": parameters["operation"],
                "query.start_time_min": _rfc3339(begin),
                "query.start_time_max": _rfc3339(end),
                "query.num_traces": most,
            }
            return self._answer("/api/v3/traces", asked, notes.append, notes)
        asked = {**parameters, "start": begin, "end": end, "limit": most}
        return self._answer("/api/traces", asked, notes.append, notes)

    def _answer(
        self, path: str, parameters: Mapping[str, object], report: Report, notes: list[Note] | None = None
    ) -> WindowAnswer:
        """What the server answers. Raises SourceError where it is of no use: nobody knows what it should have been."""

        def heard(note: Note) -> None:
            if isinstance(note, Problem) and note.whole_file:
                raise SourceError(f"{self.name}: {note.found} (asked for {path}); expected {note.expected}")
            if not isinstance(note, Used):
                report(note)
            elif note.values_left_out:
                report(Used(self.name, 0, note.values_left_out, noun="service", count=0))

        content = self._get(path, parameters)
        if content is None or content.strip() in (b"", b"{}"):
            return WindowAnswer([])
        spans = spans_in(io.BytesIO(content), f"{self.name}{path}", heard, may_be_empty=True)
        return WindowAnswer(list(traces_of(spans, report)), _count(content), notes or [])

    def _check_service(self, service: str) -> None:
        """Raises SourceError where Jaeger has heard nothing of the service: a wrong name looks like silence."""
        content = self._get("/api/v3/services" if self._has_v3() else "/api/services", {})
        names, says = _services(content), words_in((content or b"").decode("utf-8", "replace"))
        if names is None or (says and not names):
            words = f": {shown(says)}" if says else ""
            raise SourceError(f"{self._server.url} answers, but not as Jaeger's query API does{words}")
        if service not in names:
            there = f"it has: {', '.join(map(shown, sorted(names)))}" if names else "it has none yet"
            raise SourceError(f"{self.name} has no service {service}; {there}")

    def _has_v3(self) -> bool:
        """Whether the API is there; what has only a page answers anything with it."""
        if self._v3 is None:
            self._v3 = _services(self._get("/api/v3/services", {})) is not None
        return self._v3

    def _get(self, path: str, parameters: Mapping[str, object]) -> bytes | None:
        """The body of an answer; None for 404: nothing found. Raises SourceError."""
        try:
            return self._server.get(path, parameters)
        except HttpError as error:
            raise SourceError(f"{self.name}: {error}") from None


def _rfc3339(instant_us: int) -> str:
    seconds, us = divmod(instant_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{us:06d}Z"


def _count(content: bytes) -> int:
    """How many traces there are by the words of a classic answer; 0 where it does not say."""
    found = _COUNT.search(content[:_COUNT_WITHIN]) or _COUNT.search(content[-_COUNT_WITHIN:])
    return int(found[1]) if found else 0


def _services(content: bytes | None) -> list[str] | None:
    """The names in an answer of either API; None where it is no such answer."""
    try:
        answer = as_object(json.loads(content or b""))
        if "services" not in answer and "data" not in answer:
            return None if answer else []
        return [str(name) for name in as_list(answer.get("services", answer.get("data")))]
    except (ValueError, RecursionError):
        return None
