"""What the agent's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from firstword.agent import startup
from firstword.agent.cache import cache
from firstword.agent.process.prefetch import Prefetch
from firstword.agent.settings import Settings
from firstword.telemetry import metrics
from tests.agent.caches import PATIENCE
from tests.agent.providers import made
from tests.agent.virtual_calls import VirtualCalls


@pytest.fixture(autouse=True)
def patient_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache's writes come to their end on a busy machine, too."""
    monkeypatch.setattr(cache, "WRITE_DEADLINE", PATIENCE)


@pytest.fixture
def virtual_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VirtualCalls:
    """Calls in which what reads files or the shell takes a known time instead."""

    async def background(*_: object) -> Callable[[], Awaitable[None]]:
        await asyncio.sleep(0.050)

        async def end() -> None: ...

        return end

    def no_metrics(_: object) -> None: ...

    monkeypatch.setattr(startup, "start_background_audio", background)
    settings = made(tmp_path, profile="baseline", account_sources="metadata,attribute")
    monkeypatch.setattr(startup, "read_settings", lambda: settings)
    monkeypatch.setattr(startup, "set_up_metrics", no_metrics)
    return VirtualCalls(settings)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    """Reads what the worker records, in place of an exporter."""
    made = InMemoryMetricReader()

    def provider(resource: Resource, _: object) -> MeterProvider:
        return MeterProvider(metric_readers=[made], resource=resource)

    monkeypatch.setattr(metrics, "meter_provider", provider)
    return made


@pytest.fixture
async def rounds_of() -> AsyncGenerator[Callable[[Settings], Prefetch]]:
    """Makes the rounds of a worker, whose caches are closed at the end of the test."""
    made: list[Prefetch] = []

    def rounds_of(settings: Settings) -> Prefetch:
        made.append(Prefetch(settings))
        return made[-1]

    yield rounds_of
    for each in made:
        await each.aclose()
