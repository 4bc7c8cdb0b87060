"""The figures of a session as Prometheus gets them: a real worker, the collector, and the page that lists the instruments."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from livekit import api
from opentelemetry.metrics import (
    Counter,
    Histogram,
    NoOpMeter,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
)

from firstword.agent.process.start_metrics import Recorder
from firstword.agent.worker_gauges import JobProcesses, observe_worker
from firstword.command.rescuer.instruments import RescueInstruments
from firstword.command.tuner.instruments import TunerInstruments
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.stack import LocalStack
from firstword.telemetry.metrics import observe_processes
from tests.calls.waiting import PATIENCE, until
from tests.calls.workers import CallServers

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
SHOWN: tuple[str, ...] = (
    r'startup_starts_total{[^}]*startup_outcome="first_word"[^}]*} 1',
    r"startup_ttfw_seconds_count{[^}]*} 1",
    r"startup_init_seconds_count{[^}]*} 1",
    r'startup_ttfw_by_flag_seconds_count{[^}]*feature_flag_key="light-connect"[^}]*} 1',
    r'startup_init_by_flag_seconds_count{[^}]*feature_flag_key="light-connect"[^}]*} 1',
    r'startup_task_duration_seconds_count{[^}]*startup_outcome="first_word",startup_task="greeting"[^}]*} 1',
    r'startup_task_duration_by_flag_seconds_count{[^}]*feature_flag_key="light-connect"[^}]*startup_task="greeting"[^}]*} 1',
    r'startup_fallbacks_total{[^}]*startup_task="account"[^}]*} 1',
    r"startup_spans_dropped_total{[^}]*} [1-9]",
    r'startup_cache_total{[^}]*startup_cache="miss"[^}]*} \d',
    r"firstword_worker_ready{[^}]*} 1",
    r"firstword_worker_registered{[^}]*} 1",
    r"firstword_worker_load{[^}]*} 0.1",
    r"firstword_process_start_seconds_count{[^}]*} [1-9]",
    r"process_memory_usage_bytes{[^}]*} \d",
    r"process_cpu_time_seconds_total{[^}]*} \d",
)
"""Lines that Prometheus must find after one session whose store, and the collector for its traces, were away."""
EXEMPLAR = 'startup_{}_seconds_bucket{{[^}}]*}} 1.* # {{[^}}]*trace_id="{:032x}"'
"""What OpenMetrics says of a bucket and the trace that fell into it."""


class Listed(NoOpMeter):
    """Notes what is created on it."""

    def __init__(self) -> None:
        super().__init__("page")
        self.created: set[tuple[str, str]] = set()

    def create_histogram(self, name: str, unit: str = "", *more: Any, **options: Any) -> Histogram:
        self.created.add((name, unit))
        return super().create_histogram(name, unit, *more, **options)

    def create_counter(self, name: str, unit: str = "", *more: Any, **options: Any) -> Counter:
        self.created.add((name, unit))
        return super().create_counter(name, unit, *more, **options)

    def create_observable_counter(
        self, name: str, callbacks: Any = None, unit: str = "", *more: Any, **options: Any
    ) -> ObservableCounter:
        self.created.add((name, unit))
        return super().create_observable_counter(name, callbacks, unit, *more, **options)

    def create_observable_up_down_counter(
        self, name: str, callbacks: Any = None, unit: str = "", *more: Any, **options: Any
    ) -> ObservableUpDownCounter:
        self.created.add((name, unit))
        return super().create_observable_up_down_counter(name, callbacks, unit, *more, **options)

    def create_observable_gauge(
        self, name: str, callbacks: Any = None, unit: str = "", *more: Any, **options: Any
    ) -> ObservableGauge:
        self.created.add((name, unit))
        return super().create_observable_gauge(name, callbacks, unit, *more, **options)


def test_the_page_lists_each_instrument() -> None:
    """Name and unit, as the code creates them, and none that there isn't."""
    meter = Listed()
    Recorder(meter, PAGE.parent)
    observe_processes(meter, os.getpid())
    observe_worker(meter, pytest.fail, JobProcesses())
    TunerInstruments(meter)
    RescueInstruments(meter)
    listed = re.findall(r"^\| `([\w.]+)` \| (\S+) \|", PAGE.read_text(), re.MULTILINE)
    without_unit = [(name, "" if unit == "-" else unit) for name, unit in listed]
    assert sorted(without_unit) == sorted(meter.created)


@pytest.mark.real
@pytest.mark.jaeger
async def test_a_session_reaches_prometheus(tmp_path: Path) -> None:
    """One session, and the collector shows its start, its tasks, its flags, and what worker and jobs use."""
    async with (
        LocalStack(tmp_path, jaeger=True) as stack,
        simulators(None, tmp_path / "providers.log") as addresses,
        api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
    ):
        providers = {f"{name.upper()}_BASE_URL": address for name, address in addresses.items()}
        servers = CallServers(stack, providers, tmp_path, rooms)
        assert stack.otlp_endpoint is not None
        assert stack.metrics_url is not None
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_endpoint,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_METRIC_EXPORT_INTERVAL": "2000",
            "FIRSTWORD_STORE_URL": "sqlite:////proc/nowhere/accounts.db",
        }
        async with servers.worker("tuned", environment) as worker:
            caller = worker.caller(account="1001")
            await caller.connect()
            sid = await caller.room.sid
            await caller.hear(PATIENCE)
            trace = int((await worker.trace(sid)).root.trace_id, 16)
            exemplars = [EXEMPLAR.format(name, trace) for name in ("ttfw", "init", "task_duration")]
            missing = {*SHOWN, *exemplars}
            looking = asyncio.create_task(_find(stack.metrics_url, missing))
            await until(lambda: looking.done() or not any("startup_init" in line for line in missing))
            await caller.leave()
            await looking
    assert not missing


async def _find(url: str, missing: set[str]) -> None:
    """Take each line out of `missing` that is there at any time, until none is left: an exemplar goes with the next export."""
    openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0"}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(headers=openmetrics) as http:
            while missing:
                async with http.get(url) as answer:
                    text = await answer.text()
                missing -= {line for line in missing if re.search(line, text)}
                await asyncio.sleep(0.2)
