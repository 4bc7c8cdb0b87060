"""Jaeger as a source: the real one by both of its APIs, page by page; and what is said where no Jaeger answers."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from firstword.rehearsal.processes import free_ports
from firstword.rehearsal.stack import LocalStack
from firstword.tuning.files import Files
from firstword.tuning.jaeger import Jaeger
from firstword.tuning.sessions import NoSession, median, named
from firstword.tuning.sources import Query, SourceError, TraceSource
from firstword.tuning.start import RecordedStart, start_of
from tests.tuning.answering import answering
from tests.tuning.test_sessions import a_start
from tests.tuning.written import T0, no_problem, otlp_span, request, write


@pytest.mark.jaeger
@pytest.mark.parametrize("classic", [False, True])
async def test_a_real_jaeger_gives_back_what_the_files_have(tmp_path: Path, classic: bool) -> None:
    """All of seven starts in pages of two, path, tasks and figures alike, and one by each of its ids; no other service's."""
    folder = tmp_path / "traces"
    # close together, as callers come
    begins_us = (0, 1, 2, 700, 701, 60_000_000, 90_000_000)
    ids = write(folder, *(a_start(100 + n, n, begin=T0 + us * 1000) for n, us in enumerate(begins_us)))
    (folder / "others.jsonl").write_text(request([otlp_span("order", 1, None, 0, 5)], service="shop"))
    async with LocalStack(tmp_path / "stack", jaeger=True) as stack:
        assert stack.otlp_http_endpoint is not None
        assert stack.jaeger_url is not None
        for file in folder.iterdir():
            for line in file.read_text().splitlines():
                await asyncio.to_thread(_post, f"{stack.otlp_http_endpoint}/v1/traces", line.encode())
        jaeger = Jaeger(stack.jaeger_url, page_size=2, version=1 if classic else None)
        await _until(lambda: len(_starts(jaeger)) == 7)
        assert await asyncio.to_thread(_starts, jaeger) == _starts(Files(folder), Query(service="firstword"))
        assert list(await asyncio.to_thread(_starts, jaeger, Query(limit=3))) == ids[:3:-1]
        assert jaeger.page(ids[0]) == f"{stack.jaeger_url}/trace/{ids[0]}"
        for session in (ids[3], ids[3][:10], "RM_3", "AJ_3"):
            chosen = await asyncio.to_thread(named, jaeger, session, Query(), no_problem)
            assert chosen.trace.trace_id == ids[3]
        with pytest.raises(NoSession, match=r"no session RM_77 in .*; nearest: RM_6"):
            await asyncio.to_thread(named, jaeger, "RM_77", Query(), no_problem)
        with pytest.raises(SourceError, match="has no service bank; it has: firstword, shop"):
            await asyncio.to_thread(median, jaeger, Query(service="bank"), no_problem)
        others = await asyncio.to_thread(median, jaeger, Query(service="shop"), no_problem)
        assert others.trace.root.name == "order"


def test_a_limit_is_the_newest_in_whatever_order_jaeger_answers(tmp_path: Path) -> None:
    """Its stores promise none. One answer has the list of services and the traces, in no order."""
    ids = write(tmp_path, *(a_start(100, n, begin=T0 + n * 1_000_000_000) for n in (3, 0, 4, 1, 2)))
    (file,) = tmp_path.iterdir()
    answer = {"services": ["firstword"], "resourceSpans": []}
    for line in file.read_text().splitlines():
        answer["resourceSpans"] += json.loads(line)["resourceSpans"]
    with answering(200, json.dumps(answer).encode()) as url:
        newest = [trace.trace_id for trace in Jaeger(url).traces(Query(limit=3), no_problem)]
    assert newest == [ids[2], ids[0], ids[4]]


def test_an_address_that_is_none_is_refused() -> None:
    """Another scheme, no host; a password isn't repeated."""
    for url in ("localhost:16686", "ftp://localhost", "http://", "http://me:secret@localhost", "nonsense"):
        with pytest.raises(ValueError, match=r"^expected http://HOST:PORT") as caught:
            Jaeger(url)
        assert "secret" not in str(caught.value)


def test_nobody_there_is_said() -> None:
    """With the address and the reason."""
    port = free_ports(1)[0]
    with pytest.raises(
        SourceError, match=rf"Jaeger at http://127\.0\.0\.1:{port}: it can't be read: .*refused; asked 3 times"
    ):
        list(Jaeger(f"http://127.0.0.1:{port}").traces(Query(), no_problem))


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"<html>", "answers, but not as Jaeger's query API does"),
        (200, b"[[[", "answers, but not as Jaeger's query API does"),
        (404, b"404 page not found", "answers, but not as Jaeger's query API does"),
        (500, b"", "answers 500 Internal Server Error to /api/v3/services"),
        (400, b'{"errors": [{"msg": "bad time"}]}', "answers 400 Bad Request to /api/v3/services: bad time"),
        (403, b"<html><style>x</style><h1>Log in</h1></html>", "answers 403 Forbidden to /api/v3/services: Log in"),
        (200, b'{"services": []}', "has no service firstword; it has none yet"),
    ],
)
def test_something_else_that_answers_is_said(status: int, body: bytes, says: str) -> None:
    """A page, an error, a Jaeger that has heard nothing yet."""
    with answering(status, body) as url, pytest.raises(SourceError) as caught:
        list(Jaeger(url).traces(Query(), no_problem))
    assert says in str(caught.value)


def _starts(source: TraceSource, query: Query | None = None) -> dict[str, RecordedStart]:
    try:
        return {trace.trace_id: start_of(trace) for trace in source.traces(query or Query(), no_problem)}
    except SourceError:  # Jaeger knows no service before its first span
        return {}


def _post(url: str, body: bytes) -> None:
    asked = urllib.request.Request(url, body, {"content-type": "application/json"})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=120).close()


async def _until(true: Callable[[], bool]) -> None:
    """Returns when it is true; TimeoutError if that takes long."""
    async with asyncio.timeout(120):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 # a server has no event to wait for
            await asyncio.sleep(0.2)
