"""Decides where an observed start is exported: to the tracer provider that is there, else where the standard `OTEL_*`
variables say.

Asked after the first word: an agent may set its provider up in its entrypoint. Nothing that is set up here becomes
global, so an agent that sets its own later still can.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from firstword.telemetry import otlp
from firstword.telemetry.export import Exporting, FileExporter, exporters_from_environment
from firstword.telemetry.livekit import declared_start
from firstword.telemetry.livekit_private import SPAN_PROCESSOR, TRACER_PROVIDER
from firstword.telemetry.service import service_resource
from firstword.telemetry.times import SLOW_S
from firstword.telemetry.vocabulary import ROOT

if TYPE_CHECKING:
    from livekit.agents import JobContext

logger = logging.getLogger("firstword")

TRACES: Final = "FIRSTWORD_TRACES"
"""Variable that names a folder. Each process appends its spans to a file in it, as OTLP JSON lines."""
SLOW: Final = "FIRSTWORD_SLOW"
"""Variable with the seconds to the first word above which a start is slow."""
_FLUSH_MS: Final = 5_000
_LIVEKITS: Final = "livekit-agents"
"""The service that LiveKit names where it makes a provider of its own, for LiveKit Cloud."""


def exporting_of(job: JobContext) -> Exporting:
    """Returns the exporting for the job's observed start. If the job has a declared start, it is the one of that.

    Else spans go to the provider that the agent has set, globally or for LiveKit, and to the folder of
    FIRSTWORD_TRACES. Without such a provider they go where `exporters_from_environment` says, which may be nowhere.
    """
    declared = declared_start(job)
    if declared is not None:
        return declared.exporting
    provider = agents_provider()
    return _from_environment() if provider is None else _through(provider)


def slow_after() -> float:
    """Returns the seconds to the first word above which a start is slow: the variable's, or 1.5. Warns of a wrong value
    and ignores it.
    """
    text = os.environ.get(SLOW, "").strip()
    try:
        seconds = float(text or SLOW_S)
    except ValueError:
        seconds = 0.0
    if 0 < seconds < float("inf"):
        return seconds
    logger.warning("%s is %.60r; expected seconds above 0; %g s count", SLOW, text, SLOW_S)
    return SLOW_S


def agents_provider() -> TracerProvider | None:
    """Returns the SDK's tracer provider that the agent has set, globally or for LiveKit's spans alone. None if it has
    set none.
    """
    found: list[object] = [otel.get_tracer_provider()]
    if traces := sys.modules.get("livekit.agents.telemetry.traces"):
        found.append(TRACER_PROVIDER.of(traces.tracer))
    for provider in found:
        if isinstance(provider, TracerProvider) and provider.resource.attributes.get(SERVICE_NAME) != _LIVEKITS:
            return provider
    return None


def make_exporters() -> None:
    """Makes what this process exports its starts by, before it has a job. The first export would make it otherwise.

    Does nothing if the agent has set a tracer provider.
    """
    if agents_provider() is None:
        _from_environment()
        _by_otlp().make()


@functools.cache
def _from_environment() -> Exporting:
    if otlp.route("TRACES", os.environ).protocol is None:
        exporters = exporters_from_environment(folder=_folder())  # it warns of what the variables can't have
    else:
        exporters = [_by_otlp(), *_to_files()]
    if not exporters:
        logger.info("observed starts are exported nowhere; expected OTEL_EXPORTER_OTLP_ENDPOINT, or a tracer provider")
    instance = Resource({SERVICE_INSTANCE_ID: uuid4().hex})
    return Exporting(exporters, resource=instance.merge(service_resource()))


@functools.cache
def _by_otlp() -> _LateExporter:
    return _LateExporter()


def _to_files() -> list[SpanExporter]:
    folder = _folder()
    return [] if folder is None else [FileExporter(folder)]


def _folder() -> Path | None:
    folder = os.environ.get(TRACES)
    return Path(folder) if folder else None


@functools.cache
def _through(provider: TracerProvider) -> Exporting:
    return Exporting([_ToProvider(provider), *_to_files()], resource=provider.resource, ids=provider.id_generator)


class _LateExporter(SpanExporter):
    """What the OTLP variables ask for, made at the first export: on the thread that exports, after the first word.

    With gRPC importing and making it take a tenth of a second.
    """

    def __init__(self) -> None:
        self._made: list[SpanExporter] | None = None

    def make(self) -> list[SpanExporter]:
        """Makes it, if it isn't made yet. It is empty if it can't be made, which is logged."""
        if self._made is None:
            self._made = exporters_from_environment()
        return self._made

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        results = [exporter.export(spans) for exporter in self.make()]
        exported = results and all(result is SpanExportResult.SUCCESS for result in results)
        return SpanExportResult.SUCCESS if exported else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        for exporter in self._made or ():
            exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return all(exporter.force_flush(timeout_millis) for exporter in self._made or ())


class _ToProvider(SpanExporter):
    """Hands finished spans to the processors of a provider, of those traces that its sampler wants."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        processor = SPAN_PROCESSOR.of(self._provider)
        if processor is None:
            return SpanExportResult.FAILURE
        for span in spans:
            if span.context is not None and self._is_sampled(span.context.trace_id):
                processor.on_end(span)
        # now: the processors of a job's process may have no other time for it before the process ends
        return SpanExportResult.SUCCESS if self._provider.force_flush(_FLUSH_MS) else SpanExportResult.FAILURE

    def _is_sampled(self, trace_id: int) -> bool:
        return self._provider.sampler.should_sample(None, trace_id, ROOT, SpanKind.SERVER).decision.is_sampled()

    def shutdown(self) -> None:
        """The provider is the agent's."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Each export flushes."""
        return True
