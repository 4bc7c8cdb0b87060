"""What leaves the process: held until it may, clean, bounded, and never in the caller's way."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from livekit.agents.telemetry import pii, trace_types
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from firstword.telemetry import export
from firstword.telemetry.export import Exporting, FileExporter, exporters_from_environment
from firstword.telemetry.testing import StartupTest
from tests.telemetry.plans import a_plan


@pytest.fixture
def memory() -> InMemorySpanExporter:
    """An exporter that keeps what it gets."""
    return InMemorySpanExporter()


def test_what_is_traced_inside_of_a_start_is_kept_for_it(memory: InMemorySpanExporter) -> None:
    """Held until the start takes it, left out once the start is over; other traces are not held up."""
    exporting = Exporting([memory])
    tracer = exporting.provider.get_tracer("test")
    with tracer.start_as_current_span("task") as task:
        trace_id = task.get_span_context().trace_id
        exporting.open(trace_id, Context())
        tracer.start_span("request").end()
        tracer.start_span("elsewhere", context=Context()).end()
        exporting.flush(60)
        assert [span.name for span in memory.get_finished_spans()] == ["elsewhere"]
        assert [span.name for span in exporting.take(trace_id)] == ["request"]
        exporting.close(trace_id)
        tracer.start_span("late").end()
    assert (exporting.take(trace_id), exporting.newly_dropped(last=True)) == ([], 0)
    exporting.shutdown()


def test_what_is_held_is_bounded_and_what_is_dropped_is_counted(
    memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that never ends must not fill the memory, nor must many of them."""
    monkeypatch.setattr(export, "MOST_HELD_SPANS", 3)
    monkeypatch.setattr(export, "MOST_STARTS", 1)
    exporting = Exporting([memory])
    tracer = exporting.provider.get_tracer("test")
    with tracer.start_as_current_span("root") as root:
        exporting.open(root.get_span_context().trace_id, Context())
        for i in range(5):
            tracer.start_span(f"child {i}").end()
    assert exporting.newly_dropped() == 3
    exporting.open(12345, Context())
    assert exporting.newly_dropped() == 3
    exporting.shutdown()


def test_spans_that_outlive_a_start_stay_outside_of_it(memory: InMemorySpanExporter) -> None:
    """LiveKit's session span lasts as long as the call: it belongs to the job's trace, whatever task starts it."""
    exporting = Exporting([memory])
    ours, theirs = exporting.provider.get_tracer("ours"), exporting.outside.get_tracer("theirs")
    with ours.start_as_current_span("job") as job:
        around = otel_context.get_current()
        with ours.start_as_current_span("task", context=Context()) as task:
            exporting.open(task.get_span_context().trace_id, around)
            with theirs.start_as_current_span("agent_session") as session:
                theirs.start_span("turn").end()
            assert session.get_span_context().trace_id == job.get_span_context().trace_id
    exporting.flush(60)
    parents = {span.name: span.parent.span_id for span in memory.get_finished_spans() if span.parent}
    assert parents == {
        "agent_session": job.get_span_context().span_id,
        "turn": session.get_span_context().span_id,
    }
    exporting.shutdown()


def test_files_hold_otlp_json_lines(tmp_path: Path, startup_test: StartupTest) -> None:
    """Ids in hex, kinds as numbers, one export request a line: what any OTLP reader takes."""
    files = FileExporter(tmp_path / "new folder")
    startup_test.run(a_plan(), given={"job": "job"})
    files.export(startup_test.exported())
    (line,) = files.path.read_text().splitlines()
    spans = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    root = next(span for span in spans if "parentSpanId" not in span)
    assert root["name"] == "session.startup"
    assert root["traceId"] == f"{1:032x}"
    assert root["kind"] == 2
    needs = next(span for span in spans if span["name"] == "caller")["links"][0]
    assert needs["spanId"] == next(span for span in spans if span["name"] == "room")["spanId"]
    assert needs["attributes"] == [{"key": "startup.edge", "value": {"stringValue": "needs"}}]


def test_a_folder_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    """At the process's start, not at the first caller."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        FileExporter(tmp_path / "file" / "below")


def test_the_environment_says_where_spans_go(tmp_path: Path) -> None:
    """OpenTelemetry's own variables; without an endpoint nothing is sent anywhere."""
    assert exporters_from_environment({}) == []
    assert exporters_from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1", "OTEL_SDK_DISABLED": "true"}) == []
    none = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1", "OTEL_TRACES_EXPORTER": "none"}
    assert [type(e).__name__ for e in exporters_from_environment(none, folder=tmp_path)] == ["FileExporter"]
    for protocol, module in (("grpc", "grpc"), ("http/protobuf", "http")):
        (over,) = exporters_from_environment(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        )
        assert module in type(over).__module__
        over.shutdown()


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_said(variable: str, caplog: pytest.LogCaptureFixture) -> None:
    """What it may be, and what is taken instead: a collector that waits for something else is hard to find out about."""
    (over,) = exporters_from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", variable: "http/json"})
    assert "grpc" in type(over).__module__
    over.shutdown()
    (warning,) = caplog.messages
    assert warning.startswith(f"{variable} is 'http/json'")
    assert "expected grpc or http/protobuf. gRPC is taken" in warning
    exporters_from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", variable: "http/json"}, warn=False)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("variables", "sent", "says"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "console"},
            False,
            "OTEL_TRACES_EXPORTER is 'console', which is not built in; expected otlp",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp,zipkin"}, True, "OTEL_TRACES_EXPORTER is 'zipkin', which is not built in"),
        ({"OTEL_TRACES_EXPORTER": " none "}, False, ""),
        ({"OTEL_SDK_DISABLED": "TRUE"}, False, ""),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"},
            True,
            "'collector:4317'; expected http://HOST:PORT or https://",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"}, False, "no spans are sent to [::1: ValueError"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, False, "could not convert string to float"),
    ],
)
def test_what_is_asked_for_and_cannot_be_done_is_said(
    variables: dict[str, str], sent: bool, says: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of something else without a word, or of an error that ends each job's process."""
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **variables}.items():
        monkeypatch.setenv(name, value)
    exporters = exporters_from_environment()
    assert bool(exporters) == sent
    assert says in "\n".join(caplog.messages)
    assert bool(caplog.messages) == bool(says)
    for exporter in exporters:
        exporter.shutdown()


def test_a_collector_that_is_away_costs_the_caller_nothing(startup_test: StartupTest) -> None:
    """A start ends while its export still waits for the collector; the spans are dropped on a thread."""
    over = threading.Event()

    class Away(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            assert over.wait(60), "the start waited for the export"
            return SpanExportResult.FAILURE

    startup_test.exporting.shutdown()
    startup_test.exporting = Exporting([Away()], resource=Resource({}))
    start = startup_test.new_run(a_plan(), given={"job": "job"})
    startup_test.loop.run_until_complete(start.perform())
    over.set()
    startup_test.exporting.flush(60)
    assert startup_test.exporting.newly_dropped() > 10
    assert startup_test.exporting.newly_dropped() == 0


class Stuck(InMemorySpanExporter):
    """Exports nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.let.wait(60)
        return super().export(spans)


def test_what_waits_for_an_exporter_is_bounded_and_lost_when_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is one too many is counted at once; what was handed on and not exported at the end is lost as well."""
    monkeypatch.setattr(export, "MOST_WAITING", 3)
    stuck = Stuck()
    exporting = Exporting([stuck])
    for _ in range(5):
        exporting.provider.get_tracer("test").start_span("span").end()
    assert exporting.newly_dropped() == 2
    assert exporting.newly_dropped(last=True) == 3
    stuck.let.set()
    exporting.shutdown()


def test_keys_and_personal_data_are_stripped(memory: InMemorySpanExporter) -> None:
    """By key, in attributes and events; free text and the query of a URL go too."""
    exporting = Exporting([memory])
    span = exporting.provider.get_tracer("test").start_span(
        "request",
        attributes={
            "lk.pii.room_name": "+49301234567",
            "http.request.header.authorization": "Bearer sk-1",
            "deepgram_api_key": "sk-2",
            "url.full": "https://user:sk-3@api.example.com/v1/listen?token=sk-4",
            "server.address": "api.example.com",
            "gen_ai.usage.input_tokens": 17,
            "gen_ai.token.type": "input",
            "gen_ai.input.messages": "call me Ada",
        },
    )
    span.add_event("gen_ai.user.message", {"content": "call me Ada"})
    span.record_exception(ValueError("her number is 0301234567"))
    span.set_status(span.status.__class__(span.status.status_code.ERROR, "sk-5"))  # type: ignore[attr-defined]
    span.end()
    exporting.flush(60)
    (exported,) = memory.get_finished_spans()
    assert dict(exported.attributes or {}) == {
        "url.full": "https://api.example.com/v1/listen",
        "server.address": "api.example.com",
        "gen_ai.usage.input_tokens": 17,
        "gen_ai.token.type": "input",
    }
    (event,) = exported.events
    assert set(event.attributes or {}) == {"exception.type", "exception.escaped"}
    assert exported.status.description is None
    exporting.shutdown()


def test_the_query_of_a_url_in_an_event_is_stripped(memory: InMemorySpanExporter) -> None:
    """Also where nothing else of the span had to go."""
    exporting = Exporting([memory])
    span = exporting.provider.get_tracer("test").start_span("request")
    span.add_event("redirect", {"url.full": "https://api.example.com/v1?token=sk-1"})
    span.end()
    exporting.flush(60)
    (exported,) = memory.get_finished_spans()
    assert dict(exported.events[0].attributes or {}) == {"url.full": "https://api.example.com/v1"}
    exporting.shutdown()


def test_what_livekit_says_may_be_private_is_stripped(memory: InMemorySpanExporter) -> None:
    """Each key and event on LiveKit's own list: an upgrade that adds one fails here."""
    exporting = Exporting([memory])
    keys = [*pii.GEN_AI_PII_ATTRIBUTES, trace_types.ATTR_PARTICIPANT_IDENTITY, "gen_ai.prompt.variable.name"]
    span = exporting.provider.get_tracer("test").start_span("turn", attributes=dict.fromkeys(keys, "Ada"))
    for name in pii.PII_EVENT_NAMES:
        span.add_event(name, {"content": "Ada"})
    span.end()
    exporting.flush(60)
    assert "Ada" not in memory.get_finished_spans()[0].to_json()
    exporting.shutdown()
