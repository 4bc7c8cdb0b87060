"""A pytest plugin: ends every process that a test has started and left running, and fails that test.

A test that fails or times out may never reach the end of what it began. Processes are known by a variable that pytest
sets for the test that runs, PYTEST_CURRENT_TEST: they inherit it. Those of fixtures have it with another phase, and stay.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator, Iterator
from pathlib import Path

import psutil
import pytest

RUN = "PYTEST_RUN"
"""Tells the processes of this run from those of another on the same machine."""
_MAY_END = float(os.environ.get("PYTEST_MAY_END", "30"))
"""Seconds that what is ending already gets; then SIGKILL. Only what is left running takes so long, however busy the machine."""


def pytest_configure() -> None:
    """Mark whatever is started from now on."""
    os.environ[RUN] = secrets.token_hex(8)


def left_of(folder: Path) -> list[list[str]]:
    """Command lines of what was started for a run in this folder and is still there; other tests have theirs."""
    found: list[list[str]] = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = child.cmdline()
            places = (*command, child.cwd(), *child.environ().values())
            if command and any(str(folder) in text for text in places):
                found.append(command)
    return found


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """After the test's fixtures have had their chance."""
    try:
        yield
    finally:
        left = _ended(list(_started_by(item)))
    if left:
        pytest.fail(f"left running, and ended now: {'; '.join(left)}", pytrace=False)


def _started_by(item: pytest.Item) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if (
                environment.get(RUN) == os.environ[RUN]
                and environment.get("PYTEST_CURRENT_TEST") == f"{item.nodeid} (call)"
            ):
                yield process
        except psutil.Error:  # it has ended, or is somebody else's
            continue


def _ended(processes: list[psutil.Process]) -> list[str]:
    """Command lines of those that have not ended by themselves."""
    _, left = psutil.wait_procs(processes, timeout=_MAY_END)
    lines: list[str] = []
    for process in left:
        try:
            lines.append(" ".join(process.cmdline()) or process.name())
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=_MAY_END)
    return lines
