"""What a dashboard sees of a start: the instruments, their values, their exemplars, and how they get to the worker."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext, TraceFlags

from firstword.telemetry.metrics import (
    StartFigures,
    StartInstruments,
    exporter_from_environment,
    meter_provider,
    observe_processes,
)
from firstword.telemetry.record import Dispatch, Outcome
from firstword.telemetry.testing import StartupTest
from tests.telemetry.plans import a_plan

ROOT = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """Reads what was recorded."""
    return InMemoryMetricReader()


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
    return {metric.name: list(metric.data.data_points) for metric in metrics}


def figures(test: StartupTest) -> StartFigures:
    start = test.run(a_plan(), given={"job": "job"}, flags={"deferred-setup": True}).start
    return StartFigures.of(start, ROOT)


def test_a_start_fills_the_instruments(reader: InMemoryMetricReader, startup_test: StartupTest) -> None:
    """TTFW by outcome and by flag, each task's duration, starts, dropped spans; the trace is the exemplar."""
    provider = MeterProvider(metric_readers=[reader])
    instruments = StartInstruments(provider.get_meter("test"))
    instruments.record(figures(startup_test))
    instruments.record_dropped(2)
    seen = points(reader)
    ttfw = seen["startup.ttfw"][0]
    assert isinstance(ttfw, HistogramDataPoint)
    assert ttfw.sum == pytest.approx(0.810)
    assert dict(ttfw.attributes or {}) == {"startup.outcome": "first_word", "startup.dispatch": "join"}
    assert [(e.trace_id, e.span_id) for e in ttfw.exemplars] == [(0xABC, 0xDEF)]
    by_flag = seen["startup.ttfw.by_flag"][0]
    assert dict(by_flag.attributes or {}) == {
        "feature_flag.key": "deferred-setup",
        "feature_flag.result.variant": "on",
    }
    assert dict(seen["startup.init.by_flag"][0].attributes or {}) == dict(by_flag.attributes or {})
    for point in seen["startup.task.duration"]:
        assert (point.attributes or {})["startup.outcome"] == "first_word"
    assert {
        "startup.task": "account",
        "feature_flag.key": "deferred-setup",
        "feature_flag.result.variant": "on",
    } in [dict(point.attributes or {}) for point in seen["startup.task.duration.by_flag"]]
    durations: dict[Any, Any] = {(p.attributes or {})["startup.task"]: p.sum for p in seen["startup.task.duration"]}
    assert durations["account"] == pytest.approx(0.270)
    (starts,) = [point for point in seen["startup.starts"] if point.value]
    assert isinstance(starts, NumberDataPoint)
    assert (starts.value, seen["startup.spans.dropped"][0].value) == (1, 2)
    provider.shutdown()


def test_what_has_not_happened_yet_is_a_zero(reader: InMemoryMetricReader) -> None:
    """From the worker's start, each outcome and dispatch: else its first failure is no increase for Prometheus."""
    provider = MeterProvider(metric_readers=[reader])
    StartInstruments(provider.get_meter("test"))
    seen = points(reader)
    attributes = [dict(point.attributes or {}) for point in seen["startup.starts"] if point.value == 0]
    kinds = {(of["startup.outcome"], of["startup.dispatch"]) for of in attributes}
    assert kinds == {(outcome.value, dispatch.value) for outcome in Outcome for dispatch in Dispatch}
    assert [point.value for point in seen["startup.spans.dropped"]] == [0]
    provider.shutdown()


def test_figures_travel_between_processes(startup_test: StartupTest) -> None:
    """What the job's process sends is what the worker records, and it fits a datagram; anything else is refused."""
    sent = figures(startup_test)
    assert StartFigures.from_bytes(sent.to_bytes()) == sent
    assert len(sent.to_bytes()) < 8_000
    for broken in (b"", b"{}", b"[1]", b'{"tasks": [{"task": 1}]}', sent.to_bytes()[:-5]):
        with pytest.raises(ValueError, match=r"."):
            StartFigures.from_bytes(broken)


def test_processes_are_observed(reader: InMemoryMetricReader) -> None:
    """CPU and memory of the worker and its jobs, by the standard names."""
    provider = MeterProvider(metric_readers=[reader])
    observe_processes(provider.get_meter("test"), os.getpid())
    seen = points(reader)
    assert seen["process.memory.usage"][0].value > 10_000_000
    assert {(p.attributes or {})["cpu.mode"] for p in seen["process.cpu.time"]} == {"user", "system"}
    provider.shutdown()


def test_the_time_of_a_process_that_ended_is_not_lost(reader: InMemoryMetricReader) -> None:
    """CPU time is a counter: a job's process that ends takes none of it away."""
    provider = MeterProvider(metric_readers=[reader])
    observe_processes(provider.get_meter("test"), os.getpid())
    before = sum(point.value for point in points(reader)["process.cpu.time"])
    subprocess.run((sys.executable, "-S", "-c", "while __import__('time').process_time() < 0.2: pass"), check=True)
    after = sum(point.value for point in points(reader)["process.cpu.time"])
    assert after - before >= 0.15  # the kernel counts in hundredths
    provider.shutdown()


def test_the_environment_says_where_metrics_go() -> None:
    """OpenTelemetry's own variables; each process has an instance id of its own."""
    assert exporter_from_environment({}) is None
    assert (
        exporter_from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1", "OTEL_METRICS_EXPORTER": "none"})
        is None
    )
    over = exporter_from_environment(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    )
    assert over is not None
    over.shutdown()
    provider = meter_provider(Resource({"service.name": "firstword"}), None)
    assert str(os.getpid()) in str(provider._sdk_config.resource.attributes["service.instance.id"])  # pyright: ignore
    provider.shutdown()
