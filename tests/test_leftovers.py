"""A test that leaves a process running fails, and the process is ended; whatever ends a run ends what its fixtures started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.background import IN_BACKGROUND

ROOT = Path(__file__).parents[1]
START = """
import subprocess, time, pytest
from pathlib import Path

def start(name):
    sleeping = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    Path(name).write_text(f"{sleeping.pid}\\n")
    return sleeping
"""
WITHIN = 120.0
"""Seconds: a bound that only a hang reaches."""


def command(*arguments: str) -> tuple[str, ...]:
    """pytest with the plugin alone, in another folder than ours, and without a configuration that stands above it."""
    plugins = ("-c", os.devnull, "--rootdir=.", "-p", "tests.leftovers", "-p", "no:cacheprovider")
    return (sys.executable, "-m", "pytest", "-q", *plugins, *arguments)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_MAY_END": "0.5"}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("pass", "1 passed, 1 error"),
        ("assert False", "1 failed, 1 error"),
        ("time.sleep(600)", "1 failed, 1 error"),
    ],
)
def test_what_a_test_leaves_is_ended_and_said(body: str, outcome: str, tmp_path: Path) -> None:
    """Whether the test went well, failed or timed out; also what leads a group of its own."""
    (tmp_path / "test_it.py").write_text(f"{START}\ndef test_it():\n    start('pid')\n    {body}\n")
    run = subprocess.run(
        command("--timeout=5"), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=WITHIN
    )
    assert outcome in run.stdout
    assert "left running, and ended now: /bin/sleep 600" in run.stdout
    assert not alive(pid(tmp_path / "pid"))


def test_what_a_fixture_started_stays_until_its_own_end(tmp_path: Path) -> None:
    """Through the tests that use it; and a test that waits for its process leaves none."""
    fixture = "@pytest.fixture(scope='module')\ndef kept():\n    it = start('pid')\n    yield it\n    it.kill()\n    it.wait()\n"
    tests = "def test_1(kept):\n    assert kept.poll() is None\n    it = start('own')\n    it.kill()\n    it.wait()\n"
    (tmp_path / "test_it.py").write_text(
        f"{START}\n{fixture}\n{tests}\ndef test_2(kept):\n    assert kept.poll() is None\n"
    )
    run = subprocess.run(command(), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=WITHIN)
    assert "2 passed" in run.stdout, run.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_ends_its_fixtures(number: signal.Signals, tmp_path: Path) -> None:
    """Also where a script started it in the background, so that it was born with SIGINT ignored."""
    fixture = "@pytest.fixture\ndef kept():\n    it = start('pid')\n    yield it\n    it.kill()\n    it.wait()\n"
    (tmp_path / "test_it.py").write_text(f"{START}\n{fixture}\ndef test_it(kept):\n    time.sleep(600)\n")
    with subprocess.Popen(
        (*IN_BACKGROUND, *command("-p", "tests.conftest")), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
    ) as run:
        started = pid(tmp_path / "pid")
        time.sleep(0.5)  # until the test itself sleeps
        run.send_signal(number)
        run.communicate(timeout=WITHIN)
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert not alive(started)


def alive(process: int) -> bool:
    """Whether it runs; where nobody waits for orphans, one that has ended stays a zombie."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid(file: Path) -> int:
    """What a test has written of its process, as soon as it has."""
    deadline = time.monotonic() + WITHIN
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{file} was not written"
        time.sleep(0.02)
    return int(file.read_text())
