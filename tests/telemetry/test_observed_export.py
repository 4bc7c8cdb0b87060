"""Where an observed start goes: to the agent's own provider, or where the standard variables say; nothing becomes global."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import telemetry as livekit_telemetry
from livekit.agents.telemetry.traces import tracer as livekit_tracer
from opentelemetry import trace as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, TraceIdRatioBased

from firstword.telemetry import livekit, observed_export
from firstword.telemetry.export import Exporting
from firstword.telemetry.observed_export import agents_provider, exporting_of, make_exporters, slow_after
from firstword.telemetry.spans import StartTrace
from firstword.telemetry.vocabulary import ROOT
from tests.tuning.test_blame import a_start


class Job:
    """As much of a job as is asked for."""


@pytest.fixture(autouse=True)
def _no_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """As in a fresh process: none is set, and none was made."""
    monkeypatch.setattr(otel, "_TRACER_PROVIDER", None)
    before = livekit_tracer._tracer_provider  # pyright: ignore[reportPrivateUsage]
    livekit_tracer.set_provider(otel.ProxyTracerProvider())
    made = (observed_export._from_environment, observed_export._through, observed_export._by_otlp)  # pyright: ignore[reportPrivateUsage]
    yield
    for function in made:
        function.cache_clear()
    livekit_tracer.set_provider(before)


def a_provider(sampler: Sampler = ALWAYS_ON, service: str = "shop") -> tuple[TracerProvider, InMemorySpanExporter]:
    """A provider as an agent sets it up, and what it has exported."""
    provider = TracerProvider(sampler=sampler, resource=Resource({"service.name": service}), shutdown_on_exit=False)
    exported = InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exported, schedule_delay_millis=60_000))
    return provider, exported


def export_one(exporting: Exporting) -> StartTrace:
    """A start through it, flushed as an observed one is."""
    trace = StartTrace(exporting)
    trace.export(a_start(100), finished=True)
    assert exporting.flush(5.0)
    return trace


def job() -> Any:
    return Job()


@pytest.mark.parametrize("where", ["global", "livekit"])
def test_an_agents_provider_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Set globally or for LiveKit: its processors get the spans, under its resource, at once; nothing is set."""
    provider, exported = a_provider()
    if where == "global":
        monkeypatch.setattr(otel, "_TRACER_PROVIDER", provider)
    else:
        livekit_telemetry.set_tracer_provider(provider)
    trace = export_one(exporting_of(job()))
    spans = exported.get_finished_spans()
    assert {span.context.trace_id for span in spans if span.context} == {trace.context.trace_id}
    assert [span.name for span in spans if span.parent is None] == [ROOT]
    assert all(span.resource.attributes["service.name"] == "shop" for span in spans)
    assert agents_provider() is provider
    provider.shutdown()


def test_what_the_agents_sampler_leaves_out_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole traces, by their id."""
    provider, exported = a_provider(TraceIdRatioBased(0.5))
    monkeypatch.setattr(otel, "_TRACER_PROVIDER", provider)
    traces = [export_one(exporting_of(job())) for _ in range(20)]
    seen = {span.context.trace_id for span in exported.get_finished_spans() if span.context}
    assert 0 < len(seen) < 20
    sampled = {t.context.trace_id for t in traces if t.context.trace_id & (2**64 - 1) < 2**63}
    assert seen == sampled
    provider.shutdown()


def test_a_folder_gets_what_an_agents_provider_gets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And what its sampler leaves out: whoever names the folder wants all."""
    provider, exported = a_provider(TraceIdRatioBased(0.0))
    monkeypatch.setattr(otel, "_TRACER_PROVIDER", provider)
    monkeypatch.setenv("FIRSTWORD_TRACES", str(tmp_path / "traces"))
    trace = export_one(exporting_of(job()))
    (file,) = (tmp_path / "traces").iterdir()
    assert f"{trace.context.trace_id:032x}" in file.read_text()
    assert exported.get_finished_spans() == ()
    provider.shutdown()


def test_livekits_own_provider_is_not_the_agents() -> None:
    """LiveKit makes one for LiveKit Cloud, and names it so."""
    provider, _ = a_provider(service="livekit-agents")
    livekit_telemetry.set_tracer_provider(provider)
    assert agents_provider() is None
    provider.shutdown()


def test_without_a_provider_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Here a folder of files; once a process, and still no provider is set."""
    monkeypatch.setenv("FIRSTWORD_TRACES", str(tmp_path / "traces"))
    exporting = exporting_of(job())
    assert exporting_of(job()) is exporting
    trace = export_one(exporting)
    (file,) = (tmp_path / "traces").iterdir()
    assert f"{trace.context.trace_id:032x}" in file.read_text()
    assert exporting.provider.resource.attributes["service.name"] == "firstword"
    assert exporting.provider.resource.attributes["service.instance.id"]
    assert agents_provider() is None
    exporting.shutdown()


def test_the_standard_variables_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with no exporter nothing is sent, which is said."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-agent")
    exporting = exporting_of(job())
    assert exporting.provider.resource.attributes["service.name"] == "my-agent"
    export_one(exporting)
    exporting.shutdown()


@pytest.mark.parametrize("warm", [True, False])
def test_the_exporter_is_made_before_the_call_or_after_its_first_word(
    monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    """Never while a caller waits. Where it can't be made, one line says so, and the spans are lost."""
    made: list[str] = []

    def refuse(protocol: str) -> Any:
        made.append(f"{protocol} on {threading.current_thread().name}")
        raise ValueError("no such certificate")

    monkeypatch.setattr("firstword.telemetry.export.otlp_exporter", refuse)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    if warm:
        make_exporters()
    assert len(made) == warm
    exporting = exporting_of(job())
    assert len(made) == warm
    export_one(exporting)
    assert len(made) == 1
    assert exporting.newly_dropped() > 0
    exporting.shutdown()


def test_an_agents_provider_needs_no_exporter_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, _ = a_provider()
    monkeypatch.setattr(otel, "_TRACER_PROVIDER", provider)
    monkeypatch.setattr("firstword.telemetry.observed_export.exporters_from_environment", pytest.fail)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    make_exporters()
    provider.shutdown()


def test_a_declared_start_takes_the_observed_one_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go the same way, whatever else is set."""
    own = Exporting([InMemorySpanExporter()])
    provider, _ = a_provider()
    monkeypatch.setattr(otel, "_TRACER_PROVIDER", provider)
    declared = job()
    trace = StartTrace(own)
    monkeypatch.setitem(livekit._declared, declared, livekit.DeclaredStart(trace.context, own))  # pyright: ignore[reportPrivateUsage]
    assert exporting_of(declared) is own
    own.shutdown()
    provider.shutdown()


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 1.5), ("0.8", 0.8), ("soon", 1.5), ("0", 1.5), ("inf", 1.5), ("nan", 1.5)]
)
def test_how_slow_is_slow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: str, seconds: float
) -> None:
    """What is no number of seconds above 0 is said, and counts for nothing."""
    monkeypatch.setenv("FIRSTWORD_SLOW", text)
    assert slow_after() == seconds
    assert ("expected seconds above 0" in caplog.text) == (text not in ("", "0.8"))
