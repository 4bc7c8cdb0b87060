"""Counts a worker's processes for jobs, and reports what a platform steers by as OpenTelemetry gauges.

Beside `firstword.agent.health`, which answers probes from the same figures. docs/metrics.md lists the instruments.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from firstword.telemetry.metrics import SECONDS


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """How a worker is, at one moment. None: LiveKit does not tell."""

    jobs: int
    load: float | None
    full: bool | None
    registered: bool
    ready: bool
    draining: bool
    drain_used: float | None
    """Share of the time that a worker which ends gives its calls; None also where it does not end."""
    idle_processes: int | None


class JobProcesses:
    """The processes, or threads, that a worker keeps for jobs, as LiveKit's pool of them tells by its events."""

    def __init__(self) -> None:
        self.known = False
        """Whether there is a pool that tells."""
        self.failing = False
        """Whether the last one that was made ended before it could take a job."""
        self._began: dict[Any, float] = {}
        self._idle: set[Any] = set()
        self._record: Callable[[float], None] | None = None

    @property
    def idle(self) -> int:
        """Returns the number of those that could take a job now."""
        return len(self._idle)

    def follow(self, pool: Any) -> None:
        """Counts the processes of this pool from now on. pool: LiveKit's, before it is started."""
        pool.on("process_created", self._created)
        pool.on("process_ready", self._ready)
        pool.on("process_job_launched", self._taken)
        pool.on("process_closed", self._closed)
        self.known = True

    def record_starts(self, record: Callable[[float], None]) -> None:
        """Calls `record` with the seconds of each start from now on."""
        self._record = record

    def _created(self, process: Any) -> None:
        self._began[process] = time.monotonic()

    def _ready(self, process: Any) -> None:
        self._idle.add(process)
        self.failing = False
        seconds = time.monotonic() - self._began.pop(process)
        if self._record is not None:
            self._record(seconds)

    def _taken(self, process: Any) -> None:
        self._idle.discard(process)

    def _closed(self, process: Any) -> None:
        self._idle.discard(process)
        if self._began.pop(process, None) is not None:
            self.failing = True


@dataclass(frozen=True, slots=True)
class _Gauge:
    """A gauge `firstword.worker.NAME`, and what it says of the figures; None: nothing."""

    name: str
    description: str
    value: Callable[[WorkerFigures], float | None]
    unit: str = ""

    def observations(self, figures: WorkerFigures) -> list[Observation]:
        """Returns what is exported of these figures."""
        value = self.value(figures)
        return [] if value is None else [Observation(value)]


_GAUGES: Final = (
    _Gauge("jobs", "Jobs that run", lambda now: now.jobs, "{job}"),
    _Gauge("load", "Load that LiveKit is told, 0 to 1", lambda now: now.load),
    _Gauge("full", "1: LiveKit gives it no job for its load", lambda now: None if now.full is None else int(now.full)),
    _Gauge("registered", "1: a LiveKit server has it", lambda now: int(now.registered)),
    _Gauge("ready", "1: it can take a job, as /readyz says", lambda now: int(now.ready)),
    _Gauge("draining", "1: it ends once its jobs have", lambda now: int(now.draining)),
    _Gauge("drain_used", "Share of its drain that has passed, 0 to 1", lambda now: now.drain_used),
    _Gauge("idle_processes", "Processes ready for a job", lambda now: now.idle_processes, "{process}"),
)


def observe_worker(meter: Meter, figures: Callable[[], WorkerFigures], processes: JobProcesses) -> None:
    """Adds instruments to the meter that report how a worker is, and how long its processes take to start.

    figures: asked once an export, on the exporter's thread. The gauges of one export so tell of one moment.
    """
    now: WorkerFigures | None = None

    def ask(_: CallbackOptions) -> list[Observation]:
        nonlocal now
        now = figures()
        return []

    for number, gauge in enumerate(_GAUGES):

        def observe(_: CallbackOptions, gauge: _Gauge = gauge) -> list[Observation]:
            return [] if now is None else gauge.observations(now)

        meter.create_observable_gauge(
            f"firstword.worker.{gauge.name}",
            [observe] if number else [ask, observe],  # the SDK calls them in the order in which they were given
            unit=gauge.unit,
            description=gauge.description,
        )
    starts = meter.create_histogram(
        "firstword.process.start",
        unit="s",
        description="How long a job's process took until it could take a job",
        explicit_bucket_boundaries_advisory=SECONDS,
    )
    processes.record_starts(starts.record)
