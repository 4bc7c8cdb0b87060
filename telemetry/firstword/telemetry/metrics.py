"""Records the figures that a dashboard needs of every start with OpenTelemetry instruments, from the record of a
finished start.

Beside `firstword.telemetry.spans`: both are handed the same record. A job's process lives for one call, and a series
that lives for one call adds up to nothing. So the process that ran the start makes `StartFigures` of it, and the
worker's own process, which lives on, records them. Cardinality is bounded: names come from the plan and the flags,
never from callers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from firstword.telemetry import otlp
from firstword.telemetry.critical_path import analyse
from firstword.telemetry.record import Dispatch, Outcome, Start, TaskState
from firstword.telemetry.times import initialization
from firstword.telemetry.vocabulary import FLAG_KEY, FLAG_VARIANT

SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 30.0)
"""Bucket bounds of the histograms in seconds: fine around the objectives of 1.5 s and 3.0 s."""
EXPORT_AT_END_MS = 2_500
"""Milliseconds that what ends waits for a collector that doesn't answer: a worker, or a tuner."""
COARSE_SECONDS = (0.1, 0.3, 1.0, 3.0)
"""Bucket bounds, in seconds, of the one histogram that has a series for each task, flag and variant."""


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """The figures of one task of a start, in seconds, and how it went."""

    task: str
    duration: float
    drag: float
    loop_time: float
    fallback: bool
    error_type: str | None
    cache: str | None


@dataclass(frozen=True, slots=True)
class StartFigures:
    """The figures of one start that the instruments record, in seconds. Small enough for a datagram."""

    outcome: str
    dispatch: str
    ttfw: float | None
    init: float | None
    flags: Mapping[str, str]
    tasks: tuple[TaskFigures, ...]
    trace_id: int
    span_id: int

    @classmethod
    def of(cls, start: Start, context: SpanContext) -> StartFigures:
        """Returns the figures of a finished start. context: its root span's, for exemplars."""
        figures = analyse(start).figures
        ended = (task for task in start.tasks if task.state not in (TaskState.RUNNING, TaskState.CANCELLED))
        return cls(
            outcome=start.outcome.value,
            dispatch=start.dispatch.value,
            ttfw=start.ttfw,
            init=initialization(start),
            flags=dict(start.flags),
            tasks=tuple(
                TaskFigures(
                    task=task.name,
                    duration=(task.end - task.begin) / 1e9,
                    drag=figures[task.name].drag,
                    loop_time=figures[task.name].loop_time,
                    fallback=task.state is TaskState.FALLBACK,
                    error_type=task.error_type,
                    cache=task.cache,
                )
                for task in ended
            ),
            trace_id=context.trace_id,
            span_id=context.span_id,
        )

    def to_bytes(self) -> bytes:
        """Returns the figures as JSON, to send to another process."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> StartFigures:
        """Returns the figures that `to_bytes` wrote. Raises ValueError for anything else."""
        try:
            fields: dict[str, Any] = json.loads(data)
            fields["tasks"] = tuple(TaskFigures(**task) for task in fields["tasks"])
            return cls(**fields)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not the figures of a start: {error}") from None


class StartInstruments:
    """The OpenTelemetry instruments that record starts, on one meter. docs/metrics.md lists them."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, description: str, bounds: Sequence[float] = SECONDS) -> Any:
            return meter.create_histogram(
                name, unit="s", description=description, explicit_bucket_boundaries_advisory=bounds
            )

        self._ttfw = seconds("startup.ttfw", "Time to first word, by outcome and dispatch")
        self._ttfw_by_flag = seconds("startup.ttfw.by_flag", "Time to first word, by flag and variant")
        self._init = seconds("startup.init", "Initialization: until the session can hold a conversation")
        self._init_by_flag = seconds("startup.init.by_flag", "Initialization, by flag and variant")
        self._task = seconds("startup.task.duration", "Duration of each task")
        self._task_by_flag = seconds(
            "startup.task.duration.by_flag", "Duration of each task, by flag and variant", COARSE_SECONDS
        )
        self._drag = seconds("startup.task.drag", "What each task itself cost the first word")
        self._loop_time = seconds("startup.task.loop_time", "How long each task held the event loop")
        self._starts = meter.create_counter("startup.starts", unit="{start}", description="Starts, by outcome")
        self._fallbacks = meter.create_counter("startup.fallbacks", unit="{fallback}", description="Fallbacks used")
        self._errors = meter.create_counter("startup.task.errors", unit="{error}", description="Tasks that failed")
        self._cache = meter.create_counter("startup.cache", unit="{lookup}", description="Cache lookups, by result")
        self._dropped = meter.create_counter("startup.spans.dropped", unit="{span}", description="Spans dropped")
        # Prometheus takes the first value of a series for no increase: without a 0 before it, a worker's first failure
        # raises no alert.
        self._dropped.add(0)
        for outcome in Outcome:
            for dispatch in Dispatch:
                self._starts.add(0, {"startup.outcome": outcome.value, "startup.dispatch": dispatch.value})

    def record(self, figures: StartFigures) -> None:
        """Records the figures of one start. Its trace becomes the exemplar."""
        span = SpanContext(
            figures.trace_id, figures.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
        )
        context = otel.set_span_in_context(NonRecordingSpan(span), Context())
        kind = {"startup.outcome": figures.outcome, "startup.dispatch": figures.dispatch}
        self._starts.add(1, kind, context=context)
        flags = [{FLAG_KEY: flag, FLAG_VARIANT: variant} for flag, variant in figures.flags.items()]
        if figures.ttfw is not None:
            self._ttfw.record(figures.ttfw, kind, context=context)
            for by in flags:
                self._ttfw_by_flag.record(figures.ttfw, by, context=context)
        if figures.init is not None:
            self._init.record(figures.init, kind, context=context)
            for by in flags:
                self._init_by_flag.record(figures.init, by, context=context)
        for task in figures.tasks:
            name = {"startup.task": task.task}
            of = {**name, "startup.outcome": figures.outcome}
            self._task.record(task.duration, of, context=context)
            self._drag.record(task.drag, of, context=context)
            self._loop_time.record(task.loop_time, of, context=context)
            for by in flags:
                self._task_by_flag.record(task.duration, {**name, **by}, context=context)
            if task.fallback:
                self._fallbacks.add(1, name, context=context)
            if task.error_type is not None:
                self._errors.add(1, {**name, "error.type": task.error_type}, context=context)
            if task.cache is not None:
                self._cache.add(1, {**name, "startup.cache": task.cache}, context=context)

    def record_dropped(self, spans: int) -> None:
        """Adds to the count of spans that could not be exported."""
        self._dropped.add(spans)


def observe_processes(meter: Meter, pid: int) -> None:
    """Adds instruments to the meter that report CPU time and memory of a process and its children: the worker and its
    jobs.

    They have the names of the semantic conventions. CPU time includes children that have ended, so it never falls.
    Needs psutil, which comes with the extra `agent`; raises ModuleNotFoundError without it.
    """
    import psutil

    parent = psutil.Process(pid)
    spent = {"user": 0.0, "system": 0.0}

    def family() -> list[Any]:
        return [parent, *parent.children(recursive=True)]

    def cpu(_: CallbackOptions) -> list[Observation]:
        known = [t for t in (_asked(process.cpu_times) for process in family()) if t is not None]
        now = {
            "user": sum(t.user + t.children_user for t in known),
            "system": sum(t.system + t.children_system for t in known),
        }
        for mode, seconds in now.items():  # between its end and its parent's notice of it, a child's time is nowhere
            spent[mode] = max(spent[mode], seconds)
        return [Observation(seconds, {"cpu.mode": mode}) for mode, seconds in spent.items()]

    def memory(_: CallbackOptions) -> list[Observation]:
        infos = [_asked(process.memory_info) for process in family()]
        return [Observation(sum(info.rss for info in infos if info is not None))]

    def _asked(question: Any) -> Any:
        try:
            return question()
        except psutil.Error:  # a job's process that has just ended
            return None

    meter.create_observable_counter(
        "process.cpu.time", [cpu], unit="s", description="Of worker and jobs, ended ones too"
    )
    meter.create_observable_up_down_counter("process.memory.usage", [memory], unit="By", description="Resident, summed")


def exporter_from_environment(environ: Mapping[str, str] | None = None) -> MetricExporter | None:
    """Returns the metric exporter that the standard `OTEL_*` variables ask for. None if they name no endpoint, or have
    a wrong value.

    It does not log a wrong value: `firstword.telemetry.arrival` does, once.
    """
    route = otlp.route("METRICS", os.environ if environ is None else environ)
    if route.protocol is None:
        return None
    try:
        return otlp_metric_exporter(route.protocol)
    except Exception:  # whatever an exporter makes of a wrong variable; no caller pays for it
        return None


def otlp_metric_exporter(protocol: otlp.Protocol) -> MetricExporter:
    """Returns the SDK's OTLP exporter of metrics, which reads its variables itself. Raises what it raises for a wrong
    one.
    """
    # imported here: only one of the two is needed, and gRPC costs a tenth of a second
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as OverHttp

        return OverHttp()
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as OverGrpc

    return OverGrpc()


def meter_provider(resource: Resource, exporter: MetricExporter | None) -> MeterProvider:
    """Returns a meter provider with its own `service.instance.id`, so that processes don't write into each other's
    series.

    exporter: where metrics are sent, periodically; with None nothing is exported.
    """
    instance = Resource({"service.instance.id": f"{os.uname().nodename}-{os.getpid()}"})
    readers: list[MetricReader] = [] if exporter is None else [PeriodicExportingMetricReader(exporter)]
    return MeterProvider(metric_readers=readers, resource=resource.merge(instance), shutdown_on_exit=False)


def set_up(resource: Resource, exporter: MetricExporter | None) -> MeterProvider:
    """Makes a meter provider, sets it as the process's global one, so that LiveKit's instruments report there, and
    returns it.

    Returns the SDK's meter provider that is set already, if there is one.
    """
    present = otel_metrics.get_meter_provider()
    if isinstance(present, MeterProvider):
        return present
    provider = meter_provider(resource, exporter)
    otel_metrics.set_meter_provider(provider)
    return provider


def meter_of(provider: MeterProvider) -> Meter:
    """Returns firstword's own meter of the provider."""
    return provider.get_meter("firstword.telemetry", version("firstword"))
