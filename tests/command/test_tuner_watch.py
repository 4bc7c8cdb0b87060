"""firstword.command.tuner.watch: the service as a process of its own, and how it ends."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from firstword.command.tuner import api_server, watch
from firstword.command.tuner.flag_store import FileStore
from firstword.command.tuner.service import TunerLook
from firstword.telemetry.metrics import EXPORT_AT_END_MS
from tests.agent.flag_files import shared, text
from tests.command.tuner_weeks import Days

GRACE_S = 30.0
"""What Kubernetes gives a pod that says nothing of it, as the tuner's."""


def test_it_ends_within_the_grace_though_the_collector_gives_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector takes connections and says nothing; the lease is given back all the same."""
    path = tmp_path / "flags.json"
    path.write_text(text(parallel_init=shared(0)))
    store = FileStore(path)

    def interrupted(_: TunerLook) -> None:
        nonlocal told
        told = time.monotonic()
        raise KeyboardInterrupt

    told = 0.0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")  # s, by which the exporter alone would wait
        with pytest.raises(KeyboardInterrupt):
            watch.watch(store, Days(store), 60, interrupted, apply=True, counts=None)
    assert time.monotonic() - told < GRACE_S / 2
    assert FileStore(path).lease.hold() is None


def test_an_api_server_without_an_answer_leaves_time_for_the_metrics() -> None:
    """The Lease is read and written at the end, one after the other."""
    assert 2 * api_server.PATIENCE_S + EXPORT_AT_END_MS / 1000 < GRACE_S
