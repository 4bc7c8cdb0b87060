"""The figures of finished starts, and how many spans were dropped, sent by the process of a job to the worker's own,
which records them.

A job's process lives for one call, and a series that lives for one call adds up to nothing in Prometheus. Fire and
forget: a datagram that can't be delivered costs the caller nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from opentelemetry.sdk.resources import Resource

from firstword.agent.process import run_folder
from firstword.telemetry import metrics
from firstword.telemetry.export import resource
from firstword.telemetry.metrics import Figures, StartInstruments

logger = logging.getLogger("firstword")

_SOCKET = "figures"
_DROPPED = "dropped_spans"
_LARGEST = 65_536
"""Bytes of a datagram; a start of twenty tasks has some four thousand."""
EXPORT_AT_END_MS = 2_500
"""How long a worker that ends waits for a collector that doesn't answer."""


def named() -> Resource:
    """The worker's name and version, for whatever it exports."""
    return resource("firstword", version("firstword"))


def send(figures: Figures) -> bool:
    """Send them to the worker; False where there is none, or it has more than it can take."""
    return _sent(figures.to_bytes())


def send_dropped(spans: int) -> None:
    """Tell the worker how many spans were dropped since this was last told."""
    if spans:
        _sent(json.dumps({_DROPPED: spans}).encode())


def _sent(datagram: bytes) -> bool:
    folder = run_folder.find()
    if folder is None:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(datagram, str(folder / _SOCKET))
        except OSError:
            return False
    return True


@contextmanager
def recorded(folder: Path, resource: Resource) -> Generator[None]:
    """Record what jobs send, and CPU and memory of the worker and its jobs, where the `OTEL_*` variables name an endpoint.

    In the worker's own process, on its running loop.
    """
    provider = metrics.meter_provider(resource, metrics.exporter_from_environment())
    meter = metrics.meter_of(provider)
    instruments = StartInstruments(meter)
    metrics.observe_processes(meter, os.getpid())
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        try:
            receiver.bind(str(folder / _SOCKET))
        except OSError as error:  # a folder for temporary files whose name is longer than a socket's may be
            logger.warning("figures of starts are not recorded: %s", error)
        loop.add_reader(receiver, _record, receiver, instruments)
        try:
            yield
        finally:
            loop.remove_reader(receiver)
            _record(receiver, instruments)
            provider.shutdown(timeout_millis=EXPORT_AT_END_MS)


def _record(receiver: socket.socket, instruments: StartInstruments) -> None:
    while True:
        try:
            _record_one(receiver.recv(_LARGEST), instruments)
        except BlockingIOError:
            return
        except (ValueError, TypeError, AttributeError) as error:  # JSON of the right keys may hold anything
            logger.warning("a datagram is passed over: %s", error)


def _record_one(datagram: bytes, instruments: StartInstruments) -> None:
    received: Any = json.loads(datagram)
    if isinstance(received, dict) and _DROPPED in received:
        instruments.record_dropped(int(cast("dict[str, Any]", received)[_DROPPED]))
    else:
        instruments.record(Figures.from_bytes(datagram))
