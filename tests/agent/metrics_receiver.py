"""Receives what a worker exports of its metrics, over HTTP, in this process."""

from __future__ import annotations

import gzip
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

Attributes = frozenset[tuple[str, str]]


@dataclass
class Received:
    """The last value of each series of numbers, by name and attributes, and the environment that sends them here."""

    values: dict[tuple[str, Attributes], float] = field(default_factory=dict[tuple[str, Attributes], float])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def value(self, name: str, **attributes: str) -> float | None:
        """The last value of that series; None while there is none."""
        return self.values.get((name, frozenset(attributes.items())))

    def take(self, metric: Metric) -> None:
        """Keeps the values of a counter or a gauge."""
        for point in (*metric.sum.data_points, *metric.gauge.data_points):
            attributes = frozenset((each.key, each.value.string_value) for each in point.attributes)
            value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
            self.values[metric.name, attributes] = value


@asynccontextmanager
async def metrics_receiver() -> AsyncGenerator[Received]:
    """A collector's endpoint for metrics, to which a worker exports five times a second."""
    received = Received()

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    received.take(metric)
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/metrics", receive)
    async with TestServer(app) as server:
        received.environment = {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": str(server.make_url("/v1/metrics")),
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }
        yield received
