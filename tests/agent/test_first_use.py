"""The dry start pays for first uses, talks to nobody, and is not heard of in the log."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from firstword.agent.process.first_use import dry_start
from tests.agent.providers import made

NOISY = ("livekit.agents", "livekit.plugins.deepgram", "livekit.plugins.openai")


def test_a_dry_start_talks_to_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No provider sees a connection, no log says that none was there, and the log's levels are as before, twice."""
    logging.getLogger(NOISY[1]).setLevel(logging.INFO)
    before = [logging.getLogger(name).level for name in NOISY]
    with socket.create_server(("127.0.0.1", 0)) as provider:
        provider.settimeout(0)
        url = f"http://127.0.0.1:{provider.getsockname()[1]}/v1"
        for _ in range(2):
            dry_start(made(tmp_path, OPENAI_BASE_URL=url, DEEPGRAM_BASE_URL=url))
        with pytest.raises(BlockingIOError):
            provider.accept()
    assert [logging.getLogger(name).level for name in NOISY] == before
    logging.getLogger(NOISY[1]).setLevel(logging.NOTSET)
    assert not [record for record in caplog.records if record.name in NOISY and record.levelno >= logging.WARNING]


def test_levels_are_restored_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that can't be started at all raises, and later warnings are seen."""
    before = [logging.getLogger(name).level for name in NOISY]

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no session")

    monkeypatch.setattr("firstword.agent.process.first_use.session_of", broken)
    with pytest.raises(RuntimeError, match="no session"):
        dry_start(made(tmp_path))
    assert [logging.getLogger(name).level for name in NOISY] == before
