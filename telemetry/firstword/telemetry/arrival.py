"""Tests whether exported data arrives: sends an empty export with each exporter, and reports what came back.

Beside the way of the data: the worker asks once at its start, `firstword doctor` whenever it is asked. An exporter
itself only logs that it failed, one of its many tries after the other, and much later.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace.export import SpanExportResult

from firstword.telemetry import otlp
from firstword.telemetry.export import otlp_exporter
from firstword.telemetry.metrics import otlp_metric_exporter
from firstword.telemetry.otlp import Route, Signal

SIGNALS: tuple[Signal, ...] = ("TRACES", "METRICS")
_LONGEST_ANSWER = 160
_EXPORTERS = logging.getLogger("opentelemetry.exporter.otlp")
_OVER_GRPC = logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter")
_ANSWERS = (
    re.compile(r"error details: (?:.*last error: )?(.*)", re.IGNORECASE | re.DOTALL),
    re.compile(r"Transient error (.*) encountered while exporting", re.DOTALL),
    re.compile(r"code: (.*), reason: (.*)", re.DOTALL),
)
"""How the SDK's exporters (1.45) log what came back, over gRPC and over HTTP."""
_INNERMOST = re.compile(r"\[(?:Errno|SSL)[^\"')]*")
"""What is worth reading of an error that quotes other errors."""
_CAUSES = (
    (
        r"Failed parsing HTTP/2|SETTINGS frame",
        "the port speaks http/protobuf, and OTEL_EXPORTER_OTLP_PROTOCOL says grpc",
    ),
    (r"Connection aborted|BadStatusLine", "the port speaks grpc, and OTEL_EXPORTER_OTLP_PROTOCOL says http/protobuf"),
    (r"WRONG_VERSION_NUMBER", "https, or no scheme, where the port speaks no TLS"),
    (r"CERTIFICATE|SSL|Tls", "a certificate that is not trusted, or none where one is wanted"),
    (r"refused", "nothing listens there"),
    (r"Misformatted domain", "a user in the URL, which is not taken over gRPC; OTEL_EXPORTER_OTLP_HEADERS is for keys"),
    (r"lookup|resolv|not known", "the host is misspelt"),
    (
        r"404",
        "a path in {variable}; OTEL_EXPORTER_OTLP_ENDPOINT takes none, OTEL_EXPORTER_OTLP_{SIGNAL}_ENDPOINT the whole one",
    ),
    (r"401|403|UNAUTHENTICATED|PERMISSION_DENIED", "a key that is missing in OTEL_EXPORTER_OTLP_HEADERS"),
    (
        r"unknown service|UNIMPLEMENTED|not found",
        "the receiver takes no {signal}; OTEL_{SIGNAL}_EXPORTER=none sends none",
    ),
    (r"no answer", "it is busy, or a firewall drops what is sent"),
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """The result of an empty export of one signal: where it went, and why it did not arrive."""

    route: Route
    problem: str = ""
    """Why nothing arrives, with the variable and a possible cause. Empty if the receiver took it, or nothing is sent.
    """


def try_exports(environ: Mapping[str, str] = os.environ, *, within: float = 3.0) -> list[Arrival]:
    """Sends an empty export of each signal as this process would, and returns the results. Waits at most `within`
    seconds for each.

    environ: the process's own environment, which the exporters also read themselves.
    """
    return [_tried(otlp.route(signal, environ), within) for signal in SIGNALS]


def warn_where_nothing_arrives() -> None:
    """Sends empty exports, and logs a warning for each signal that does not arrive and each variable that can't be
    followed.
    """
    logger = logging.getLogger("firstword")
    said: set[str] = set()
    for arrival in try_exports():
        for line in (*arrival.route.faults, arrival.problem):
            if line and line not in said:
                said.add(line)
                logger.warning("%s", line)


def _tried(route: Route, within: float) -> Arrival:
    if route.protocol is None:
        return Arrival(route)
    try:
        export, shutdown = _exporter(route)
    except Exception as error:  # the exporters raise whatever they make of a wrong variable
        return Arrival(
            route,
            _problem(
                route, f"{type(error).__name__}: {error}", cause="a variable that begins with OTEL_EXPORTER_OTLP_"
            ),
        )
    answer = _answer(export, shutdown, within)
    return Arrival(route, _problem(route, answer) if answer else "")


def _exporter(route: Route) -> tuple[Callable[[], bool], Callable[[], object]]:
    """What sends an empty export and says whether it was taken, and what ends the exporter."""
    assert route.protocol is not None  # noqa: S101 # `_tried` saw to it
    if route.signal == "TRACES":
        spans = otlp_exporter(route.protocol)
        return lambda: spans.export([]) is SpanExportResult.SUCCESS, spans.shutdown
    metrics = otlp_metric_exporter(route.protocol)
    return lambda: metrics.export(MetricsData([])) is MetricExportResult.SUCCESS, lambda: metrics.shutdown()


class _Listener(logging.Handler):
    """Takes what an exporter logs in this one thread: the first line has the receiver's answer."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread: int | None = None
        self.heard = threading.Event()
        self.line = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread and not self.heard.is_set():
            self.line = record.getMessage()
            self.heard.set()


def _answer(export: Callable[[], bool], shutdown: Callable[[], object], within: float) -> str:
    """What came back in place of a receipt; empty where the receiver took it."""
    listener = _Listener()

    def run() -> None:
        listener.thread = threading.get_ident()
        taken = False
        with suppress(Exception):
            taken = export()
        if not listener.heard.is_set():
            listener.line = "" if taken else "it was not taken, without a reason"
            listener.heard.set()

    propagated, _EXPORTERS.propagate = _EXPORTERS.propagate, False  # each try would be a line of its own
    filters = list(_OVER_GRPC.filters)  # the SDK's drops what is like the line before it
    for each in filters:
        _OVER_GRPC.removeFilter(each)
    _EXPORTERS.addHandler(listener)
    try:
        thread = threading.Thread(target=run, name="empty export", daemon=True)
        thread.start()
        heard = listener.heard.wait(within)
        threading.Thread(target=shutdown, daemon=True).start()  # ends the tries, and may wait for one
        thread.join(1.0)
    finally:
        _EXPORTERS.removeHandler(listener)
        _EXPORTERS.propagate = propagated
        for each in filters:
            _OVER_GRPC.addFilter(each)
    if not heard:
        return f"no answer within {within:g} s"
    for known in _ANSWERS:
        if found := known.search(listener.line):
            return " ".join(part for part in found.groups() if part != "None")
    return listener.line


def _problem(route: Route, answer: str, *, cause: str = "") -> str:
    innermost = _INNERMOST.search(answer)
    text = otlp.without_password(innermost[0] if innermost else answer)
    shown = "".join(each if each.isprintable() else "?" for each in text)[:_LONGEST_ANSWER]
    name = {"TRACES": "spans", "METRICS": "metrics"}[route.signal]
    if not cause:
        known = next((text for pattern, text in _CAUSES if re.search(pattern, answer)), "")
        cause = known.format(variable=route.variable, signal=name, SIGNAL=route.signal)
    cause = f"; possible cause: {cause}" if cause else ""
    return f"{route.variable}: {name} to {route.place} over {route.protocol} don't arrive: {shown}{cause}"
