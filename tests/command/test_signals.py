"""Whatever ends a command, it ends as by Ctrl-C and leaves nothing behind, also where SIGINT was ignored at its birth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.background import IN_BACKGROUND, UNDER_NOHUP

AGENT = "my_agent.py"
WITHIN = 120.0
"""Seconds: a bound that only a hang reaches."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "arguments", [("up",), ("rehearse",), ("rehearse", "--agent", AGENT), ("audit", AGENT)], ids=" ".join
)
def test_what_a_command_started_ends_with_it(
    arguments: tuple[str, ...], number: signal.Signals, tmp_path: Path
) -> None:
    """In the middle of a build, which is the first process that each command starts: exit code 130, no traceback."""
    (tmp_path / AGENT).write_text("from livekit.agents import AgentServer\n\nserver = AgentServer()\n")
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec /bin/sleep 600\n")
    go.chmod(0o755)
    places = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "STATE")}
    command = (*IN_BACKGROUND, sys.executable, "-m", "firstword", *arguments)
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **places, "PATH": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    ) as run:
        build = _pid(tmp_path / "pid")
        run.send_signal(number)
        _, errors = run.communicate(timeout=WITHIN)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    assert not psutil.pid_exists(build)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_without_an_event_loop_ends_too(number: signal.Signals, tmp_path: Path) -> None:
    """In the middle of a wait for the next look."""
    with _watching(tmp_path, IN_BACKGROUND) as run:
        run.send_signal(number)
        _, errors = run.communicate(timeout=WITHIN)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors


def test_nohup_is_respected(tmp_path: Path) -> None:
    """SIGHUP stays ignored where it was; SIGTERM ends the command."""
    with _watching(tmp_path, UNDER_NOHUP) as run:
        run.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(0.5)
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=WITHIN)
    assert run.returncode == 130


def _watching(folder: Path, by: tuple[str, ...]) -> subprocess.Popen[str]:
    """`firstword tune --watch`, once it has looked: there is no flag file, so it waits for the next look."""
    (folder / "t.jsonl").touch()
    tune = ("tune", "--watch", "60", "--flags", "none.json", "--traces", "t.jsonl")
    run = subprocess.Popen(
        (*by, sys.executable, "-m", "firstword", *tune), cwd=folder, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    assert "hold; " in run.stderr.readline()
    return run


def _pid(file: Path) -> int:
    """What a script has written of itself, as soon as it has."""
    deadline = time.monotonic() + WITHIN
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{file} was not written"
        time.sleep(0.02)
    return int(file.read_text())
