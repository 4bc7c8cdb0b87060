"""`/healthz`, `/readyz` and the gauges of any agent that calls `serve_health`, against a server that takes registrations."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import pytest
from livekit.agents import AgentServer, JobContext, JobExecutorType, JobProcess
from opentelemetry import metrics as otel_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from firstword.agent import health, livekit_private, serve_health
from firstword.agent.worker_gauges import JobProcesses, WorkerFigures, observe_worker
from firstword.rehearsal.processes import free_ports
from firstword.telemetry import metrics, observed_export
from firstword.telemetry.livekit_private import PrivateName
from firstword.telemetry.metrics import meter_of
from tests.agent.registering_server import registering_server
from tests.calls.waiting import PATIENCE, until

DRAINING = (503, "draining: no new call is taken, and it ends after those that run\n")
AWAY = (503, "not registered: no LiveKit server has it\n")
READY = (200, "ready\n")
ALIVE = (200, "alive\n")


@pytest.fixture(autouse=True)
def class_as_it_was() -> Iterator[None]:
    """What a test has set on LiveKit's class goes."""
    before = dict(vars(AgentServer))
    yield
    for name in set(vars(AgentServer)) - set(before):
        delattr(AgentServer, name)


def agent_server(url: str, set_up: Callable[[JobProcess], None] | None = None) -> AgentServer:
    """An agent's server with one thread ready for a job."""
    server = AgentServer(
        job_executor_type=JobExecutorType.THREAD,
        num_idle_processes=1,
        initialize_process_timeout=1.0,
        ws_url=url,
        api_key="key",
        api_secret="a-secret-of-thirty-two-characters",
        host="127.0.0.1",
        port=free_ports(1)[0],
        load_fnc=lambda: 0.25,
        setup_fnc=set_up,
    )

    async def entrypoint(_: JobContext) -> None:
        return

    server.rtc_session(entrypoint)
    return server


class EventPool:
    """A pool of processes of which there is nothing but its events."""

    def __init__(self) -> None:
        self._told: dict[str, Callable[[Any], None]] = {}

    def on(self, event: str, told: Callable[[Any], None]) -> None:
        self._told[event] = told

    def tell(self, event: str, process: object) -> None:
        """An event of a process."""
        self._told[event](process)


class Probes:
    """Asks the worker as a platform does."""

    def __init__(self, server: AgentServer, http: aiohttp.ClientSession) -> None:
        self.server = server
        self._http = http
        self.port: int = server._port  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]  # as it was given it

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body; (0, "") while nothing listens."""
        try:
            async with self._http.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def until(self, path: str, said: tuple[int, str]) -> None:
        """Wait until that is what it says."""
        async with asyncio.timeout(PATIENCE):
            while await self.get(path) != said:  # noqa: ASYNC110 - of another server
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(server: AgentServer) -> AsyncGenerator[Probes]:
    """The server runs; closed on exit."""
    run = asyncio.create_task(server.run())
    async with aiohttp.ClientSession() as http:
        try:
            yield Probes(server, http)
        finally:
            await server.aclose()
            await run


def measured(reader: InMemoryMetricReader) -> dict[str, float]:
    """What the worker's instruments say now; of the histogram the count."""
    data = reader.get_metrics_data()
    found: list[Any] = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
    points = ((m.name, m.data.data_points[0]) for m in found)
    return {name: point.count if hasattr(point, "count") else point.value for name, point in points}


async def test_a_worker_is_ready_once_livekit_has_it_and_alive_all_the_while(reader: InMemoryMetricReader) -> None:
    async with registering_server() as livekit:
        livekit.away = True
        server = agent_server(livekit.url)
        serve_health(server)
        async with running(server) as probes:
            await probes.until("/readyz", AWAY)
            assert await probes.get("/healthz") == ALIVE
            assert measured(reader)["firstword.worker.registered"] == 0
            livekit.away = False
            await probes.until("/readyz", READY)
            assert (await probes.get("/"))[0] == 200  # LiveKit's own
            await until(lambda: measured(reader)["firstword.worker.load"] == 0.25)
            assert measured(reader) == {
                "firstword.worker.jobs": 0,
                "firstword.worker.load": 0.25,
                "firstword.worker.full": 0,
                "firstword.worker.registered": 1,
                "firstword.worker.ready": 1,
                "firstword.worker.draining": 0,
                "firstword.worker.idle_processes": 1,
                "firstword.process.start": 1,
            }
            await livekit.go()
            await probes.until("/readyz", AWAY)
            assert await probes.get("/healthz") == ALIVE
            livekit.away = False
            await probes.until("/readyz", READY)
            await server.drain()
            assert await probes.get("/readyz") == DRAINING
            assert await probes.get("/healthz") == ALIVE
            said = measured(reader)
            assert said["firstword.worker.draining"] == 1
            assert 0 <= said["firstword.worker.drain_used"] <= 1


def slowly(_: JobProcess) -> None:
    """Take half a second to be ready for jobs."""
    time.sleep(0.5)


async def test_it_is_not_ready_from_the_first_signal_on_though_it_still_starts() -> None:
    """LiveKit's own `drain` waits for the start."""
    async with registering_server() as livekit:
        server = agent_server(livekit.url, set_up=slowly)
        serve_health(server)
        async with running(server) as probes:
            await probes.until("/readyz", (503, "starting\n"))
            ending = asyncio.create_task(server.drain())
            await asyncio.sleep(0)
            assert await probes.get("/readyz") == DRAINING
            await ending


async def test_without_the_private_names_it_answers_on_the_next_port(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reader: InMemoryMetricReader
) -> None:
    """And measures what is public."""
    for name in ("HTTP_SERVER", "PROC_POOL", "CONNECTING", "WORKER_LOAD", "AVAILABLE", "INFERENCE", "DRAIN_TIMEOUT"):
        entry: PrivateName = getattr(livekit_private, name)
        monkeypatch.setattr(livekit_private, name, replace(entry, name=f"{entry.name}_moved"))
    async with registering_server() as livekit:
        server = agent_server(livekit.url)
        serve_health(server)
        async with running(server) as probes:
            probes.port += 1
            with caplog.at_level(logging.WARNING, "firstword"):
                await probes.until("/readyz", READY)
            assert await probes.get("/healthz") == ALIVE
            assert set(measured(reader)) == {
                f"firstword.worker.{name}" for name in ("jobs", "registered", "ready", "draining")
            }
    said = [message for message in caplog.messages if "/readyz" in message]
    assert said == [f"/healthz and /readyz are on port {probes.port}: this version of LiveKit takes no routes"]


async def test_a_worker_whose_processes_cannot_start_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveKit registers it all the same. Its last start failed, and no earlier process is left."""
    made = JobProcesses()
    monkeypatch.setattr(health, "JobProcesses", lambda: made)
    async with registering_server() as livekit:
        server = agent_server(livekit.url)
        serve_health(server)
        async with running(server) as probes:
            await probes.until("/readyz", READY)
            events = EventPool()
            made.follow(events)
            for process in livekit_private.PROC_POOL.of(server).processes:
                events.tell("process_job_launched", process)
            events.tell("process_created", "the next")
            events.tell("process_closed", "the next")
            assert await probes.get("/readyz") == (503, "no process for a job could be started; the log says why\n")
            assert await probes.get("/healthz") == ALIVE


def test_the_drain_is_the_variable_s(monkeypatch: pytest.MonkeyPatch) -> None:
    server = agent_server("ws://127.0.0.1:1")
    monkeypatch.setenv("FIRSTWORD_DRAIN", "90")
    serve_health(server)
    assert server._drain_timeout == 90  # pyright: ignore[reportPrivateUsage]  # LiveKit has no way to read it
    monkeypatch.setenv("FIRSTWORD_DRAIN", "90s")
    with pytest.raises(ValueError, match=r"^FIRSTWORD_DRAIN is '90s'; expected a whole number of seconds, 1 or more$"):
        serve_health(server)


async def test_the_share_of_a_drain_is_of_the_limit_that_the_server_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the first of two ends, and no more than all of it: LiveKit then cuts the calls off."""
    clock = [100.0]
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    server = agent_server("ws://127.0.0.1:1")
    server.update_options(drain_timeout=200)
    monkeypatch.setattr(server, "aclose", AsyncMock())
    found = health.Health(server)
    assert found.figures().drain_used is None
    for now, share in ((100.0, 0.0), (260.0, 0.8), (1000.0, 1.0)):
        clock[0] = now
        await server.aclose()
        assert found.figures().drain_used == share


def test_the_gauges_of_one_export_are_asked_for_once(reader: InMemoryMetricReader) -> None:
    """So all of them tell of the same moment, and the worker is looked at once."""
    asked = 0

    def figures() -> WorkerFigures:
        nonlocal asked
        asked += 1
        return WorkerFigures(asked, asked, None, True, True, False, None, asked)

    observe_worker(meter_of(metrics.meter_provider(Resource({}), None)), figures, JobProcesses())
    for export in (1, 2):
        said = measured(reader)
        assert asked == export
        assert {said[f"firstword.worker.{name}"] for name in ("jobs", "load", "idle_processes")} == {export}


def test_one_name_for_a_worker_s_spans_and_its_gauges(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `speak_first` exports in the jobs, and `serve_health` in the worker: by default ours, else the agent's."""
    exported: list[Resource] = []

    def noted(resource: Resource, _: object) -> MeterProvider:
        exported.append(resource)
        return MeterProvider(resource=resource, shutdown_on_exit=False)

    monkeypatch.setattr(otel_metrics, "get_meter_provider", lambda: None)
    monkeypatch.setattr(metrics, "meter_provider", noted)
    spans = observed_export._from_environment.__wrapped__().provider.resource  # pyright: ignore[reportPrivateUsage]  # as speak_first's
    own = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    for provider in (None, own):
        monkeypatch.setattr(health, "agents_provider", lambda given=provider: given)
        with health._meter():  # pyright: ignore[reportPrivateUsage]  # no server runs here
            pass
    names = [resource.attributes["service.name"] for resource in exported]
    assert names == [spans.attributes["service.name"], "shop"]
    assert exported[0].attributes["service.version"] == spans.attributes["service.version"]


def test_processes_are_counted_from_their_events() -> None:
    """One takes a job, one is killed while idle, one ends before it is ready, and a later one is well."""
    pool, processes = EventPool(), JobProcesses()
    processes.follow(pool)
    seconds: list[float] = []

    def begin(name: str) -> None:
        pool.tell("process_created", name)
        pool.tell("process_ready", name)

    processes.record_starts(seconds.append)
    begin("first")
    begin("second")
    assert (processes.idle, len(seconds)) == (2, 2)
    pool.tell("process_job_launched", "first")
    pool.tell("process_closed", "second")
    pool.tell("process_closed", "first")
    assert (processes.idle, processes.failing) == (0, False)
    pool.tell("process_created", "third")
    pool.tell("process_closed", "third")
    assert processes.failing
    begin("fourth")
    assert (processes.idle, processes.failing, len(seconds)) == (1, False, 3)
