"""firstword.telemetry.arrival: a receiver that takes what is sent, and what is said of each that does not."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Generator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from firstword.telemetry.arrival import Arrival, try_exports, warn_where_nothing_arrives


class Taking(trace_service_pb2_grpc.TraceServiceServicer):
    """A receiver of spans over gRPC; it knows no metrics, as Jaeger doesn't."""

    def Export(self, request: object, context: object) -> trace_service_pb2.ExportTraceServiceResponse:
        return trace_service_pb2.ExportTraceServiceResponse()


class Handler(BaseHTTPRequestHandler):
    """A receiver of spans and metrics over HTTP."""

    def do_POST(self) -> None:
        self.send_response(200 if self.path in ("/v1/traces", "/v1/metrics") else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def over_grpc() -> Generator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Taking(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(scope="module")
def over_http() -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def refusing() -> Generator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def tried(monkeypatch: pytest.MonkeyPatch, endpoint: str = "", protocol: str = "", **more: str) -> list[Arrival]:
    """What becomes of spans and of metrics with these variables."""
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, **more}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return try_exports(within=2.0)


def test_a_receiver_that_takes_it(over_grpc: str, over_http: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over either protocol, at the common variable or at the signal's own."""
    assert tried(monkeypatch, f"http://{over_grpc}")[0].problem == ""
    assert [each.problem for each in tried(monkeypatch, f"http://{over_http}", "http/protobuf")] == ["", ""]
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://{over_http}/v1/traces"}
    spans, metrics = tried(monkeypatch, "", "http/protobuf", **own)
    assert (spans.problem, spans.route.variable) == ("", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    assert (metrics.problem, metrics.route.protocol) == ("", None)


def test_what_does_not_arrive_says_why(
    over_grpc: str, over_http: str, refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable, the answer and a possible cause, for each way to get it wrong."""
    wrong = {
        "grpc to a port of HTTP": (f"http://{over_http}", "grpc", "the port speaks http/protobuf"),
        "HTTP to a port of gRPC": (f"http://{over_grpc}", "http/protobuf", "the port speaks grpc"),
        "a path that is added twice": (f"http://{over_http}/v1/traces", "http/protobuf", "404 Not Found; possible cause: a path in"),
        "no scheme": (over_grpc, "grpc", "https, or no scheme, where the port speaks no TLS"),
        "https where there is none": (f"https://{over_http}", "http/protobuf", "where the port speaks no TLS"),
        "nobody": (f"http://{refusing}", "grpc", "Connection refused; possible cause: nothing listens there"),
        "nobody over HTTP": (f"http://{refusing}", "http/protobuf", "[Errno 111] Connection refused; possible cause: nothing"),
    }  # fmt: skip
    for name, (endpoint, protocol, says) in wrong.items():
        for arrival in tried(monkeypatch, endpoint, protocol):
            assert says in arrival.problem, name
            assert arrival.problem.startswith("OTEL_EXPORTER_OTLP_ENDPOINT: ")
            assert "\n" not in arrival.problem


def test_a_receiver_without_metrics_is_told_from_one_without_spans(
    over_grpc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jaeger takes spans alone; the variable that sends no metrics is named, each time it is asked."""
    for _ in range(2):
        spans, metrics = tried(monkeypatch, f"http://{over_grpc}")
        assert spans.problem == ""
        assert "the receiver takes no metrics; OTEL_METRICS_EXPORTER=none sends none" in metrics.problem


def test_a_receiver_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        spans, metrics = tried(monkeypatch, endpoint, "http/protobuf", OTEL_METRICS_EXPORTER="none")
        assert time.monotonic() - began < 60
    assert "don't arrive: no answer within 2 s; possible cause: it is busy" in spans.problem
    assert metrics.problem == ""


def test_no_password_is_shown(refusing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a URL that holds one."""
    for scheme in ("http://", "ftp://", ""):
        found = tried(monkeypatch, f"{scheme}user:hush@{refusing}", "grpc")
        assert "hush" not in str(found)


def test_nothing_is_tried_where_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The route says which variable decided so."""
    assert [each.route.variable for each in tried(monkeypatch)] == ["OTEL_EXPORTER_OTLP_ENDPOINT"] * 2
    off = tried(monkeypatch, "http://127.0.0.1:1", OTEL_SDK_DISABLED="true")
    assert [(each.route.variable, each.problem) for each in off] == [("OTEL_SDK_DISABLED", "")] * 2


def test_the_worker_says_it_once_and_without_the_exporters_own_lines(
    refusing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A line for each signal, and one for what is asked for besides."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{refusing}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    warn_where_nothing_arrives()
    assert [line.partition(" to ")[0] for line in caplog.messages] == [
        "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json', which is not spoken here; expected grpc or http/protobuf. gRPC is taken",
        "OTEL_EXPORTER_OTLP_ENDPOINT: spans",
        "OTEL_EXPORTER_OTLP_ENDPOINT: metrics",
    ]
