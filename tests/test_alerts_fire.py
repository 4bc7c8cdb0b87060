"""Two alerts, fired by what they are about: a real worker whose provider is slow, and then no worker. A point leads to its trace."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from livekit import api

from firstword.rehearsal.environment import simulators
from firstword.rehearsal.files import data_file
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.stack import LocalStack
from firstword.telemetry.vocabulary import OUTCOME, ROOT
from firstword.tuning.jaeger import Jaeger
from firstword.tuning.notes import ignore
from firstword.tuning.spans import Trace
from tests.calls.waiting import PATIENCE
from tests.calls.workers import CallServers
from tests.prometheus import Prometheus, prometheus

TTFW = "startup_ttfw_seconds_bucket"
FIRING = 'ALERTS{{alertname="{}", alertstate="firing", job="firstword"}}'
LATE, NO_WORKER = FIRING.format("FirstwordFirstWordLate"), FIRING.format("FirstwordNoWorker")
WELL = 'absent(ALERTS{alertstate="firing"}) and on () firstword_worker_registered{job="firstword"} == 1'


@pytest.mark.real
@pytest.mark.jaeger
@pytest.mark.prometheus
async def test_a_slow_provider_and_a_worker_that_is_gone_are_alerts(tmp_path: Path) -> None:
    """Each is silent before its time: while the worker is there and nobody has called, no alert of any kind fires. Who looks
    into the slow start's point in a graph finds its trace in Jaeger."""
    ports = Ports.free()
    latencies = tmp_path / "slow.toml"
    latencies.write_text("[tts]\nfirst_byte = { median_ms = 2000, sigma = 0 }\n")
    targets = {
        "firstword": f"127.0.0.1:{ports.metrics}",
        "collector": f"127.0.0.1:{ports.collector_telemetry}",
    }
    collector = {"COLLECTOR_METRICS_EXPIRATION": "4s"}
    async with (
        LocalStack(tmp_path, jaeger=True, ports=ports, environment=collector) as stack,
        simulators(latencies, tmp_path / "providers.log") as addresses,
        api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
        prometheus(tmp_path, targets, shortened()) as server,
    ):
        assert stack.otlp_endpoint is not None
        providers = {f"{name.upper()}_BASE_URL": address for name, address in addresses.items()}
        servers = CallServers(stack, providers, tmp_path, rooms)
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "1000"}
        async with servers.worker("baseline", environment) as worker:
            await server.until(WELL, PATIENCE)
            caller = worker.caller()
            await caller.connect()
            await caller.hear(PATIENCE)
            await server.until(LATE, PATIENCE)  # who hangs up at the first sound may count as gone before it
            await caller.leave()
            assert "FirstwordNoWorker" not in await firing(server)
            assert stack.jaeger_url is not None
            trace = await until_there(Jaeger(stack.jaeger_url), await exemplar(server))
            assert trace.root.name == ROOT
            assert trace.root.attributes[OUTCOME] == "first_word"
            kill(worker.running.pid)
            await server.until(NO_WORKER, PATIENCE)


async def firing(server: Prometheus) -> set[str]:
    """The names of the alerts that fire."""
    return {labels["alertname"] for labels, _ in await server.query('ALERTS{alertstate="firing"}')}


async def exemplar(server: Prometheus) -> str:
    """The trace of the one start, as the graphs of the time to first word have it."""
    began = time.monotonic()
    while True:
        now = time.time()
        found = await server.get("query_exemplars", query=TTFW, start=str(now - 600), end=str(now))
        traces = {point["labels"]["trace_id"] for series in found for point in series["exemplars"]}
        if traces:
            (trace,) = traces
            return trace
        assert time.monotonic() - began < PATIENCE, "no exemplar came to Prometheus"
        await asyncio.sleep(0.2)


async def until_there(jaeger: Jaeger, trace_id: str) -> Trace:
    """The trace, as soon as Jaeger has it."""
    began = time.monotonic()
    while (found := await asyncio.to_thread(jaeger.trace, trace_id, ignore)) is None:
        assert time.monotonic() - began < PATIENCE, f"the trace {trace_id} did not come to Jaeger"
        await asyncio.sleep(0.2)
    return found


def kill(pid: int) -> None:
    """A worker and its jobs, at once and without a word."""
    worker = psutil.Process(pid)
    for process in (worker, *worker.children(recursive=True)):
        process.send_signal(signal.SIGKILL)


def shortened() -> Iterator[Mapping[str, Any]]:
    """The shipped rules, which fire at once, on one start, and look no further back than half a minute."""
    for name in ("recording", "alerts"):
        text = data_file(f"deploy/prometheus/{name}.yml").read_text(encoding="utf-8")
        text = re.sub(r"\[(5m|10m|30m|1h|6h)\]", "[30s]", text)
        text = re.sub(r"\bfor: \w+", "for: 0s", text)
        yield yaml.safe_load(text.replace(">= 10", ">= 1"))
