"""Servers on loopback that answer as a test wants: everything alike, each request by a function, or as a Jaeger with a store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

Request = tuple[str, Mapping[str, str]]
"""Path and parameters."""


@dataclass(frozen=True)
class Reply:
    """What a server answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: int | None = None
    """The connection breaks after so many bytes of the body."""


@contextmanager
def serving(answer: Callable[[Request], Reply], heard: list[Mapping[str, str]] | None = None) -> Generator[str]:
    """A server on loopback; its address. heard: gets the headers of each request, their names in lower case."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if heard is not None:
                heard.append({name.lower(): value for name, value in self.headers.items()})
            parts = urlsplit(self.path)
            reply = answer((parts.path, dict(parse_qsl(parts.query))))
            self.send_response(reply.status)
            self.send_header("content-length", str(len(reply.body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on standard error."""

    with handling(Handler) as url:
        yield url


@contextmanager
def handling(handler: type[BaseHTTPRequestHandler]) -> Generator[str]:
    """A server on loopback of that handler; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def answering(status: int, body: bytes, heard: list[Mapping[str, str]] | None = None) -> Generator[str]:
    """A server that answers everything alike."""
    with serving(lambda _: Reply(status, body), heard) as url:
        yield url


@dataclass
class Store:
    """A Jaeger of the classic API with so many traces of one span, whose begins are given in µs since the Unix epoch."""

    begins: list[int]
    most: int | None = None
    """It gives no more in one answer, whatever it is asked for."""
    counts: bool = False
    """It says how many there are."""
    asked: int = 0
    """For traces, so far."""

    def __call__(self, request: Request) -> Reply:
        path, parameters = request
        if path == "/api/services":
            return self._answer(["firstword"])
        if path != "/api/traces":
            return Reply(404, b"404 page not found")
        self.asked += 1
        begin, end, limit = (int(parameters[key]) for key in ("start", "end", "limit"))
        found = [number for number, at in enumerate(self.begins, 1) if begin <= at <= end]
        given = found[: min(limit, self.most or limit)]
        return self._answer([self._trace(number) for number in given], len(found) if self.counts else 0)

    def _trace(self, number: int) -> object:
        span: dict[str, object] = {"traceID": f"{number:032x}", "spanID": "1", "operationName": "order"}
        timed = {**span, "startTime": self.begins[number - 1], "duration": 5, "processID": "p1"}
        return {"traceID": span["traceID"], "spans": [timed], "processes": {"p1": {"serviceName": "firstword"}}}

    def _answer(self, data: list[object], total: int = 0) -> Reply:
        return Reply(body=json.dumps({"data": data, "total": total, "limit": 0, "errors": None}).encode())
