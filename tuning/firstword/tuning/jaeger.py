"""Traces from Jaeger's query API: version 3 (OTLP), or the classic one where that is all there is.

A source like `firstword.tuning.sources.Files`. Jaeger gives at most so many traces an answer and doesn't say in which order;
so a window of time that is full is cut in two, until each part is whole.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from itertools import islice
from typing import Literal
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import OpenerDirector, ProxyHandler, build_opener

from firstword.telemetry.vocabulary import JOB_ID, ROOM_SID, ROOT
from firstword.tuning.documents import spans_in
from firstword.tuning.grouping import traces_of
from firstword.tuning.json_shape import as_list, as_object
from firstword.tuning.notes import Problem, Report
from firstword.tuning.sources import Query, SourceError
from firstword.tuning.spans import Span, Trace

SERVICE = "firstword"
"""The service whose traces are read unless another is named."""
MOST_TRACES = 1000
"""Unless a limit is given."""
_PAGE = 100
_MOST_AT_ONCE = 1000
"""Traces asked for where a window can't be cut any more."""
_LONGEST_ANSWER = 512 * 2**20
_PATIENCE_S = 60.0
_WEEK_US = 7 * 86_400 * 1_000_000
_CLOCKS_DIFFER_US = 86_400 * 1_000_000
_FAR_FUTURE_US = 4_102_444_800_000_000
"""The year 2100."""


class Jaeger:
    """The traces of one service in one Jaeger."""

    def __init__(self, url: str, *, page_size: int = _PAGE, version: Literal[1, 3] | None = None) -> None:
        """url: where its query API and page are, `http://HOST:PORT` and a base path if it has one; raises ValueError.

        page_size: how many traces to ask for at once. version: of the API; by default 3 where it is there.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("it may be: http://HOST:PORT or https://HOST, without user or password")
        self._url = url.rstrip("/")
        self._page_size = page_size
        self._opener = _opener(parts.hostname)
        self._v3 = None if version is None else version == 3

    @property
    def name(self) -> str:
        """What it is, for the first line a command prints."""
        return f"Jaeger at {self._url}"

    def page(self, trace_id: str) -> str | None:
        """The address of the trace on Jaeger's page."""
        return f"{self._url}/trace/{trace_id}"

    def traces(self, query: Query, report: Report) -> Iterator[Trace]:
        """The newest traces wanted; those with a start-up, or, where the service has none, all of it.

        Without `since`, of the last week, or of any time if there is none. Raises SourceError.
        """
        self._check_service(query.service or SERVICE)
        ahead = time.time_ns() // 1000 + _CLOCKS_DIFFER_US
        week, ever = (ahead - _WEEK_US, ahead), (0, _FAR_FUTURE_US)
        stretches = (week, ever) if query.since_ns is None else ((query.since_ns // 1000, ahead),)
        wanted = Query(since_ns=query.since_ns)
        for operation in (ROOT, None):
            parameters = {"service": query.service or SERVICE, "operation": operation}
            for begin, end in stretches:
                found = filter(wanted.wants, self._windows(begin, end, parameters, report))
                first = next(found, None)
                if first is not None:
                    yield first
                    yield from islice(found, (query.limit or MOST_TRACES) - 1)
                    return

    def trace(self, trace_id: str, report: Report) -> Trace | None:
        """The trace of that id."""
        path = f"/api/v3/traces/{trace_id}" if self._has_v3() else f"/api/traces/{trace_id}"
        return next(traces_of(self._spans(path, {}, report), report), None)

    def of_session(self, session: str, query: Query, report: Report) -> Iterator[Trace]:
        """By the ids on the root where Jaeger can search for them, else all there are."""
        service = query.service or SERVICE
        found = False
        for key in (ROOM_SID, JOB_ID):
            parameters = {"service": service, "tags": json.dumps({key: session}), "start": 0, "limit": self._page_size}
            for trace in traces_of(self._spans("/api/traces", parameters, report), report):
                found = True
                yield trace
        if not found:
            yield from self.traces(Query(service=query.service, limit=query.limit), report)

    def _windows(self, begin: int, end: int, parameters: Mapping[str, str | None], report: Report) -> Iterator[Trace]:
        """All traces with a span that begins in a stretch of time (µs), each once; the newest part first, in it the newest."""
        seen: set[str] = set()
        windows = [(begin, end)]
        while windows:
            begin, end = windows.pop()
            wide = end - begin > 1
            most = self._page_size if wide else _MOST_AT_ONCE
            found = list(traces_of(self._page(begin, end, most, parameters, report), report))
            if wide and len(found) >= most:
                # where what came lies: half of it is in each part, and what did not come in one of them
                starts = sorted(trace.root.start_ns // 1000 for trace in found)
                middle = min(max(starts[len(starts) // 2], begin + 1), end - 1)
                windows += [(begin, middle), (middle, end)]
                continue
            if len(found) >= most:
                report(Problem(self.name, f"{most} traces or more that began in one microsecond", "fewer"))
            for trace in sorted(found, key=lambda trace: (trace.root.start_ns, trace.trace_id), reverse=True):
                if trace.trace_id not in seen:
                    seen.add(trace.trace_id)
                    yield trace

    def _page(
        self, begin: int, end: int, most: int, parameters: Mapping[str, str | None], report: Report
    ) -> Iterator[Span]:
        """The spans of so many traces of a window at most."""
        if self._has_v3():
            asked = {
                "query.service_name": parameters["service"],
                "query.operation_name": parameters["operation"],
                "query.start_time_min": _rfc3339(begin),
                "query.start_time_max": _rfc3339(end),
                "query.num_traces": most,
            }
            return self._spans("/api/v3/traces", asked, report)
        return self._spans("/api/traces", {**parameters, "start": begin, "end": end, "limit": most}, report)

    def _spans(self, path: str, parameters: Mapping[str, object], report: Report) -> Iterator[Span]:
        content = self._get(path, parameters)
        if content is None or content.strip() in (b"", b"{}") or _is_empty(content):
            return iter(())
        return spans_in(io.BytesIO(content), f"{self.name}{path}", report)

    def _check_service(self, service: str) -> None:
        """Raises SourceError where Jaeger has heard nothing of the service: a wrong name looks like silence."""
        content = self._get("/api/v3/services" if self._has_v3() else "/api/services", {})
        names = _services(content)
        if names is None:
            raise SourceError(f"{self._url} answers, but not as Jaeger's query API does")
        if service not in names:
            there = f"it has: {', '.join(sorted(names))}" if names else "it has none yet"
            raise SourceError(f"{self.name} has no service {service}; {there}")

    def _has_v3(self) -> bool:
        """Whether the API is there; what has only a page answers anything with it."""
        if self._v3 is None:
            self._v3 = _services(self._get("/api/v3/services", {})) is not None
        return self._v3

    def _get(self, path: str, parameters: Mapping[str, object]) -> bytes | None:
        """The body of an answer; None for 404: nothing found. Raises SourceError."""
        asked = urlencode({key: value for key, value in parameters.items() if value is not None}, quote_via=quote)
        url = f"{self._url}{path}{'?' if asked else ''}{asked}"
        try:
            with self._opener.open(url, timeout=_PATIENCE_S) as answer:
                content: bytes = answer.read(_LONGEST_ANSWER + 1)
        except HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise SourceError(f"{self.name} answers {error.code} {error.reason} to {path}") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise SourceError(f"{self.name} can't be read: {reason}") from None
        if len(content) > _LONGEST_ANSWER:
            raise SourceError(f"{self.name}: an answer of more than {_LONGEST_ANSWER // 2**20} MB; give a --limit")
        return content


def _opener(host: str) -> OpenerDirector:
    """Through the proxy that the environment names, but never to this machine."""
    loopback = host in ("localhost", "127.0.0.1", "::1")
    return build_opener(ProxyHandler({})) if loopback else build_opener()


def _rfc3339(instant_us: int) -> str:
    seconds, us = divmod(instant_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{us:06d}Z"


def _is_empty(content: bytes) -> bool:
    """Whether an answer of the classic API says that nothing was found."""
    if len(content) > 1000:
        return False
    try:
        answer = as_object(json.loads(content))
        return "data" in answer and not as_list(answer["data"])
    except ValueError:
        return False


def _services(content: bytes | None) -> list[str] | None:
    """The names in an answer of either API; None where it is no such answer."""
    try:
        answer = as_object(json.loads(content or b""))
        if "services" not in answer and "data" not in answer:
            return None if answer else []
        return [str(name) for name in as_list(answer.get("services", answer.get("data")))]
    except ValueError:
        return None
