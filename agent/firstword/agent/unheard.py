"""Marks the callers of this worker who are there and unheard, so that a process that warms up can wait for them.

LiveKit starts the replacement of a process the moment its job is taken: its warm-up would compete with the very start
it replaces. The processes of a worker share a folder with one file for each start in progress. For the shipped worker
it is the run folder. The processes of any other worker have the same parent process, whose id is in the folder's name.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from firstword.agent import run_folder
from firstword.agent.folders import make_private

LONGEST_WAIT_S = 3.0
"""Seconds that a process waits at most. LiveKit ends a process that takes over 10 s to initialize."""
_LOOK_EVERY_S = 0.05
_SUFFIX = ".unheard"


class Unheard:
    """Marks one start in progress for the worker's other processes: from `wait()` to `heard()` the caller hears
    nothing.

    It does nothing if the folder can't be written to.
    """

    def __init__(self, job_id: str) -> None:
        self._mark = _folder() / f"{job_id}{_SUFFIX}"

    def wait(self) -> None:
        """Marks that a start is in progress, by making its file in the shared folder."""
        with suppress(OSError):
            if self._mark.parent != run_folder.find():
                make_private(self._mark.parent)
            self._mark.touch()

    def heard(self) -> None:
        """Removes the mark: the caller hears something, or never will."""
        with suppress(OSError):
            self._mark.unlink(missing_ok=True)
            if self._mark.parent != run_folder.find():
                self._mark.parent.rmdir()  # unless another caller is still unheard


def wait_for_the_unheard() -> float:
    """Blocks while another start of this worker is in progress, at most `LONGEST_WAIT_S`. Returns the seconds it
    waited.

    A mark older than that is of a process that died, and doesn't count.
    """
    began = time.monotonic()
    folder = _folder()
    while time.monotonic() - began < LONGEST_WAIT_S and _somebody_waits(folder):
        time.sleep(_LOOK_EVERY_S)
    return time.monotonic() - began


def _folder() -> Path:
    """That of the worker whose process this is."""
    return run_folder.find() or Path(tempfile.gettempdir()) / f"firstword-unheard-{os.geteuid()}-{os.getppid()}"


def _somebody_waits(folder: Path) -> bool:
    recent = time.time() - LONGEST_WAIT_S
    with suppress(OSError):
        return any(mark.stat().st_mtime > recent for mark in folder.glob(f"*{_SUFFIX}"))
    return False
