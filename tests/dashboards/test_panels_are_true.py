"""What each panel of each dashboard returns, on a real Prometheus that scrapes a real collector, against what was planted."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import pytest
import pytest_asyncio
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from firstword.agent import run_folder
from firstword.agent.process import start_metrics
from firstword.agent.worker_gauges import JobProcesses, WorkerFigures
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.stack import LocalStack
from firstword.telemetry.service import service_resource
from tests.calls.waiting import PATIENCE
from tests.dashboards import planted
from tests.dashboards.expected import EXPECTED, WINDOW_S, Value
from tests.dashboards.pages import PAGES, Target, panels, targets
from tests.prometheus import Prometheus, prometheus

VARIABLES = {
    "__rate_interval": f"{WINDOW_S}s",
    "__range": f"{WINDOW_S}s",
    "job": "firstword",
    "flag": ".*",
    "quantile": "0.9",
}
A = WorkerFigures(
    jobs=3, load=0.4, full=False, registered=True, ready=True, draining=False, drain_used=None, idle_processes=2
)
B = WorkerFigures(
    jobs=1, load=0.8, full=True, registered=True, ready=False, draining=True, drain_used=0.85, idle_processes=1
)
ALL_THERE = (
    "sum(startup_starts_total) == 21",
    "firstword_datagrams_lost_total == 5",
    "firstword_tuner_share",
    "sum(firstword_rescues_total) == 6",
    "rate(process_cpu_time_seconds_total[1m])",
    'sum(rate({__name__=~"otelcol_receiver_refused_.+"}[1m])) >= 0',
    'sum(rate({__name__=~"otelcol_exporter_send_failed_.+"}[1m])) >= 0',
)
"""What a scrape has when it has all."""
HERE = f"{os.uname().nodename}-{os.getpid()}"
"""`service.instance.id` of the worker that this process is."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scraped(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[Prometheus, float]]:
    """A Prometheus that has scraped what was planted, and the time of that scrape."""
    folder = tmp_path_factory.mktemp("dashboards")
    ports = Ports.free()
    targets = {
        "firstword": f"127.0.0.1:{ports.metrics}",
        "collector": f"127.0.0.1:{ports.collector_telemetry}",
    }
    async with LocalStack(folder, jaeger=True, ports=ports) as stack, prometheus(folder, targets) as server:
        assert stack.otlp_endpoint is not None
        with (
            pytest.MonkeyPatch.context() as patch,
            meter(stack.otlp_endpoint, "firstword", HERE) as a,
            meter(stack.otlp_endpoint, "firstword", "b") as b,
            meter(stack.otlp_endpoint, "firstword-tuner", "t") as t,
            meter(stack.otlp_endpoint, "firstword-rescue", "r") as r,
        ):
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", stack.otlp_endpoint)
            patch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1000")
            try:
                with start_metrics.recorded(run_folder.make(), service_resource()):
                    planted.worker(a, A, planted.Processes())
                    planted.worker(b, B, JobProcesses())
                    planted.tuner(t)
                    planted.rescuer(r)
                    await server.until("count(firstword_datagrams_lost_total == 0)", PATIENCE)
                    planted.lose(5)
                    await planted.send()
                    await server.until(" and on () ".join(ALL_THERE), PATIENCE)
                    after = f"max(timestamp(startup_starts_total)) > {time.time()}"
                    ((_, moment),) = await server.until(after, PATIENCE)
                    yield server, moment
            finally:
                run_folder.remove()


@contextmanager
def meter(endpoint: str, service: str, instance: str) -> Generator[Meter]:
    """A meter of another process than the worker's recorder."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint, insecure=True), export_interval_millis=1000)
    resource = Resource({"service.name": service, "service.instance.id": instance})
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    try:
        yield provider.get_meter("tests")
    finally:
        provider.shutdown()


@pytest.mark.real
@pytest.mark.jaeger
@pytest.mark.prometheus
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("page", PAGES)
async def test_each_panel_returns_what_was_planted(scraped: tuple[Prometheus, float], page: str) -> None:
    """Every series that is expected, no other, and each with its figure; a panel without an expectation fails too."""
    server, moment = scraped
    returned: dict[str, dict[str, float]] = {}
    for panel in panels(page):
        found = returned.setdefault(panel["title"], {})
        for target in targets(panel):
            for labels, value in await server.query(target.with_variables(VARIABLES), moment):
                known = {label: "a" if text == HERE else text for label, text in labels.items()}
                found[target.name(known)] = value
    expected = EXPECTED[page]
    assert set(returned) == set(expected)
    assert {title: set(series) for title, series in returned.items()} == {
        title: set(series) for title, series in expected.items()
    }
    wrong = {
        f"{title}: {name}": (value, expected[title][name])
        for title, series in returned.items()
        for name, value in series.items()
        if not is_true(value, expected[title][name])
    }
    assert wrong == {}


def is_true(value: float, expected: Value) -> bool:
    """Within the bounds, or the figure but for rounding."""
    if isinstance(expected, tuple):
        return expected[0] <= value <= expected[1]
    return value == pytest.approx(expected, rel=0.01)


@pytest.mark.real
@pytest.mark.jaeger
@pytest.mark.prometheus
@pytest.mark.asyncio(loop_scope="module")
async def test_points_of_a_graph_lead_to_traces(scraped: tuple[Prometheus, float]) -> None:
    """Each query with exemplars has some, and each is of a start that was planted."""
    server, moment = scraped
    traces = {f"{start.trace_id:032x}" for start in planted.starts()}
    asking: list[Target] = [
        target for page in PAGES for panel in panels(page) for target in targets(panel) if target.exemplars
    ]
    assert len(asking) > 10
    for target in asking:
        query = target.with_variables(VARIABLES)
        found = await server.get("query_exemplars", query=query, start=str(moment - WINDOW_S), end=str(moment + 5))
        exemplars = [exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]]
        assert exemplars, query
        assert set(exemplars) <= traces
