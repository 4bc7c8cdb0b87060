"""Sends the figures of finished starts, and the number of dropped spans, from a job's process to the worker's own,
which records them as metrics.

A job's process lives for one call, and a series that lives for one call adds up to nothing in Prometheus. Nobody waits
for an answer: a datagram that can't be delivered costs the caller nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from opentelemetry.metrics import Meter, Observation
from opentelemetry.sdk.resources import Resource

from firstword.agent import failures, run_folder
from firstword.telemetry import metrics
from firstword.telemetry.metrics import StartFigures, StartInstruments

logger = logging.getLogger("firstword")

_DROPPED = "dropped_spans"
_LARGEST = 65_536
"""Bytes of a datagram; a start of twenty tasks has some four thousand."""
_LONGEST_WORD = 64
"""Characters of a helper's name, or of a reason."""


def send(figures: StartFigures) -> bool:
    """Sends a start's figures to the worker. Returns False if there is no worker, or its queue is full."""
    return run_folder.send(figures.to_bytes())


def send_dropped(spans: int) -> None:
    """Tells the worker that `spans` more spans were dropped. Sends nothing for 0; what can't be delivered is lost."""
    if spans:
        run_folder.send(json.dumps({_DROPPED: spans}).encode())


@contextmanager
def recorded(folder: Path, resource: Resource) -> Generator[Meter]:
    """Context manager that records what jobs send, and CPU and memory of the worker and its jobs, as metrics. Gives the meter.

    Used in the worker's own process, on its running loop. Metrics are exported if the `OTEL_*` variables name an
    endpoint.
    """
    provider = metrics.meter_provider(resource, metrics.exporter_from_environment())
    meter = metrics.meter_of(provider)
    recorder = Recorder(meter, folder)
    metrics.observe_processes(meter, os.getpid())
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        try:
            receiver.bind(str(run_folder.socket_path(folder)))
        except OSError as error:  # a folder for temporary files whose name is longer than a socket's may be
            logger.warning("figures of starts are not recorded: %s", error)
        loop.add_reader(receiver, recorder.record_all, receiver)
        try:
            yield meter
        finally:
            loop.remove_reader(receiver)
            recorder.record_all(receiver)
            provider.shutdown(timeout_millis=metrics.EXPORT_AT_END_MS)


class Recorder:
    """Receives the datagrams of jobs in the worker, and records them with OpenTelemetry instruments."""

    def __init__(self, meter: Meter, folder: Path) -> None:
        self._starts = StartInstruments(meter)
        self._failures = meter.create_counter(
            "firstword.helper.failures", unit="{failure}", description="Failures of what a call can do without"
        )
        meter.create_observable_counter(
            "firstword.datagrams.lost",
            [lambda _: [Observation(run_folder.lost(folder))]],
            unit="{datagram}",
            description="messages of jobs that the worker's socket had no room for",
        )

    def record_all(self, receiver: socket.socket) -> None:
        """Records every datagram that has arrived at the socket, without waiting for more. One that can't be read is
        logged and skipped.
        """
        while True:
            try:
                self._record(receiver.recv(_LARGEST))
            except BlockingIOError:
                return
            except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
                # JSON of the right keys may hold anything
                logger.warning("a datagram is passed over: %s", type(error).__name__)

    def _record(self, datagram: bytes) -> None:
        received: Any = json.loads(datagram)
        fields = cast("dict[str, Any]", received if isinstance(received, dict) else {})
        if _DROPPED in fields:
            self._starts.record_dropped(int(fields[_DROPPED]))
        elif failures.HELPER in fields:
            self._failures.add(1, {key: str(fields[key])[:_LONGEST_WORD] for key in (failures.HELPER, failures.REASON)})
        else:
            self._starts.record(StartFigures.from_bytes(datagram))
