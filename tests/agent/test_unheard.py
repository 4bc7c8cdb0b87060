"""A process that warms up waits for callers who are there and unheard, and not for those of a process that died."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from firstword.agent import run_folder, unheard
from firstword.agent.unheard import Unheard, wait_for_the_unheard

LONGEST_WAIT_S = 60.0
"""Only who waits for a mark that is not for them waits so long."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unheard, "LONGEST_WAIT_S", LONGEST_WAIT_S)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = run_folder.make()
    yield made
    run_folder.remove()


def test_the_folder_is_known_to_children_and_gone_at_the_end() -> None:
    """It is named in the environment, which children inherit, for as long as the worker runs."""
    assert run_folder.find() is None
    made = run_folder.make()
    assert str(made) in os.environ.values()
    assert run_folder.find() == made
    (made / "left behind").touch()
    run_folder.remove()
    assert not made.exists()
    assert run_folder.find() is None
    run_folder.remove()


def test_the_folder_of_a_worker_that_was_killed_goes_with_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of one that runs stays, and so does one that was just made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "from firstword.agent import run_folder; print(run_folder.make()); input()"
    worker = [sys.executable, "-c", code]
    long_ago = time.time() - 3_600
    with (
        subprocess.Popen(
            worker, env=os.environ | {"TMPDIR": str(tmp_path)}, stdin=PIPE, stdout=PIPE, text=True
        ) as killed,
        subprocess.Popen(
            worker, env=os.environ | {"TMPDIR": str(tmp_path)}, stdin=PIPE, stdout=PIPE, text=True
        ) as runs,
    ):
        folders = [Path((each.stdout or sys.stdin).readline().strip()) for each in (killed, runs)]
        killed.kill()
        killed.wait()
        for folder in folders:
            os.utime(folder, (long_ago, long_ago))
        new = Path(tempfile.mkdtemp(prefix="firstword-run-"))
        run_folder.make()
        try:
            assert [folder.exists() for folder in (*folders, new)] == [False, True, True]
        finally:
            run_folder.remove()
            runs.communicate("\n")


def test_it_waits_until_the_caller_hears_something(folder: Path) -> None:
    """Of two who wait, the last one counts."""
    first, second = Unheard("AJ_1"), Unheard("AJ_2")
    assert not list(folder.iterdir())
    first.wait()
    second.wait()
    first.heard()
    heard: list[float] = []

    def hear() -> None:
        heard.append(time.monotonic())
        second.heard()

    timer = threading.Timer(0.2, hear)
    timer.start()
    waited = wait_for_the_unheard()
    assert time.monotonic() >= heard[0]
    timer.join()
    assert waited < LONGEST_WAIT_S
    assert not list(folder.iterdir())
    second.heard()


def test_nobody_waits_for_a_process_that_died(folder: Path) -> None:
    """A mark that is older than the longest wait doesn't count."""
    Unheard("AJ_1").wait()
    (mark,) = folder.iterdir()
    long_ago = time.time() - LONGEST_WAIT_S - 1
    os.utime(mark, (long_ago, long_ago))
    assert wait_for_the_unheard() < LONGEST_WAIT_S
    assert mark.exists()


def test_processes_of_another_worker_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have one parent; the folder that is called by it goes with the last mark."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = Unheard("AJ_1"), Unheard("AJ_2")
    first.wait()
    second.wait()
    first.heard()
    timer = threading.Timer(0.2, second.heard)
    timer.start()
    assert 0.1 < wait_for_the_unheard() < LONGEST_WAIT_S
    timer.join()
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nobody_is_told() -> None:
    """A worker that was killed: the start goes on."""
    folder = run_folder.make()
    folder.rmdir()
    try:
        waiting = Unheard("AJ_1")
        waiting.wait()
        assert wait_for_the_unheard() < LONGEST_WAIT_S
        waiting.heard()
    finally:
        run_folder.remove()
