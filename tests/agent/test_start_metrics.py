"""Figures of starts reach the worker's own process, and nothing that goes wrong on the way costs anybody anything."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from firstword.agent import run_folder
from firstword.agent.failures import Failing
from firstword.agent.process import start_metrics
from firstword.telemetry.metrics import StartFigures, TaskFigures
from tests.calls.waiting import until

TASK = TaskFigures("account", 0.2, 0.1, 0.01, fallback=False, error_type=None, cache="hit")
FIGURES = StartFigures("first_word", "join", 0.8, 1.2, {"parallel-init": "on"}, (TASK,), 0xABC, 0xDEF)
SENDER = """
import sys
from firstword.agent.failures import Failing
from firstword.agent.process import start_metrics
from firstword.telemetry.metrics import StartFigures
assert start_metrics.send(StartFigures.from_bytes(sys.stdin.buffer.read()))
"""
WRONG_TYPES = b'{"outcome":1,"dispatch":2,"ttfw":"x","init":[],"flags":3,"tasks":[],"trace_id":"a","span_id":"b"}'


@pytest.fixture
def folder() -> Iterator[Path]:
    made = run_folder.make()
    yield made
    run_folder.remove()


def starts(reader: InMemoryMetricReader, counter: str = "startup.starts") -> int:
    """How many starts were recorded, or what another counter says."""
    data = reader.get_metrics_data()
    found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
    return sum(int(point.value) for m in found if m.name == counter for point in m.data.data_points)  # pyright: ignore


async def test_figures_of_another_process_are_recorded(folder: Path, reader: InMemoryMetricReader) -> None:
    """A job's process finds the worker by the environment it inherits, and may end at once."""
    with start_metrics.recorded(folder, Resource({})):
        job = await asyncio.create_subprocess_exec(sys.executable, "-c", SENDER, stdin=subprocess.PIPE)
        await job.communicate(FIGURES.to_bytes())
        assert job.returncode == 0
        await until(lambda: starts(reader) == 1)


async def test_dropped_spans_are_added_up(folder: Path, reader: InMemoryMetricReader) -> None:
    """Each process tells its own, more than once where it goes on; none is nothing to tell."""
    with start_metrics.recorded(folder, Resource({})):
        for spans in (3, 0, 4):
            start_metrics.send_dropped(spans)
        await until(lambda: starts(reader, "startup.spans.dropped") == 7)


async def test_what_has_come_last_is_recorded_too(
    folder: Path, reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a job that ends with the worker: its datagram lies in the socket when the worker stops looking."""
    counted: list[int] = []

    def end(self: MeterProvider, timeout_millis: float = 0) -> None:
        counted.append(starts(reader))

    monkeypatch.setattr(MeterProvider, "shutdown", end)
    with start_metrics.recorded(folder, Resource({})):
        assert start_metrics.send(FIGURES)
        assert start_metrics.send(FIGURES)
    assert counted == [2]


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"\xff\xfe", b"[1]", b"null", b"{}", WRONG_TYPES, b'{"dropped_spans":"x"}', b"x" * 60_000]
)
async def test_garbage_is_passed_over(
    folder: Path, reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    """Whatever comes, it is one warning, and the next figures are recorded."""
    with start_metrics.recorded(folder, Resource({})):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(garbage, str(folder / "figures"))
        assert start_metrics.send(FIGURES)
        await until(lambda: starts(reader) == 1)
    assert [message.startswith("a datagram is passed over") for message in caplog.messages] == [True]


def test_nobody_listens() -> None:
    """Without a worker, in a folder without a socket, and when the folder is gone: not sent, not raised."""
    assert not start_metrics.send(FIGURES)
    folder = run_folder.make()
    try:
        assert not start_metrics.send(FIGURES)
        folder.rmdir()
        assert not start_metrics.send(FIGURES)
    finally:
        run_folder.remove()


def test_a_worker_that_does_not_look_is_not_waited_for(folder: Path) -> None:
    """When its socket is full the figures are dropped."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(folder / "figures"))
        sent = [start_metrics.send(FIGURES) for _ in range(2_000)]
    assert sent[0]
    assert not sent[-1]


async def test_the_folder_goes_while_the_worker_runs(folder: Path, reader: InMemoryMetricReader) -> None:
    """Somebody cleans up temporary files: nothing is recorded any more, and the worker ends well."""
    with start_metrics.recorded(folder, Resource({})):
        assert start_metrics.send(FIGURES)
        run_folder.remove()
        assert not start_metrics.send(FIGURES)
        await until(lambda: starts(reader) == 1)


async def test_a_folder_too_long_for_a_socket_is_a_warning(
    tmp_path: Path, reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker runs without these figures."""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    with caplog.at_level(logging.WARNING), start_metrics.recorded(long, Resource({})):
        await asyncio.sleep(0)
    assert [message.startswith("figures of starts are not recorded") for message in caplog.messages] == [True]


async def test_failures_of_helpers_are_counted_for_every_process(folder: Path, reader: InMemoryMetricReader) -> None:
    """A job's process and the worker's own: each failure, though the log says only the first."""
    with start_metrics.recorded(folder, Resource({})):
        failing = Failing("audio cache")
        for _ in range(3):
            failing.failed("full", "no room")
        await asyncio.sleep(0.05)
        assert starts(reader, "firstword.helper.failures") == 3


async def test_what_finds_no_room_is_counted(folder: Path, reader: InMemoryMetricReader) -> None:
    """A worker that is busy for long loses figures; how many is a figure."""
    with start_metrics.recorded(folder, Resource({})):
        sent = [start_metrics.send(FIGURES) for _ in range(2_000)]
        assert sent.count(False) > 0
        assert starts(reader, "firstword.datagrams.lost") == sent.count(False)
