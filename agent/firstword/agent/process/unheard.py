"""Which callers of this worker are there and unheard, so that a process that warms up can wait for them.

LiveKit starts the replacement of a process the moment its job is taken: its warm-up would compete with the very start it
replaces. The processes of a worker share a folder with one file for each start in progress.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from firstword.agent import run_folder

LONGEST_WAIT_S = 3.0
"""LiveKit ends a process that takes over 10 s to initialize."""
_LOOK_EVERY_S = 0.05
_SUFFIX = ".unheard"


class Unheard:
    """A caller hears nothing yet, from `wait()` to `heard()`. Without a folder nobody is told, and that is all."""

    def __init__(self, job_id: str) -> None:
        folder = run_folder.find()
        self._mark = None if folder is None else folder / f"{job_id}{_SUFFIX}"

    def wait(self) -> None:
        """A start is in progress."""
        with suppress(OSError):
            if self._mark is not None:
                self._mark.touch()

    def heard(self) -> None:
        """The caller hears something, or never will."""
        with suppress(OSError):
            if self._mark is not None:
                self._mark.unlink(missing_ok=True)


def wait_for_the_unheard() -> float:
    """Wait while a start is in progress, at most `LONGEST_WAIT_S`; returns the seconds it took.

    A mark older than that is of a process that died, and doesn't count.
    """
    began = time.monotonic()
    folder = run_folder.find()
    while folder is not None and time.monotonic() - began < LONGEST_WAIT_S and _somebody_waits(folder):
        time.sleep(_LOOK_EVERY_S)
    return time.monotonic() - began


def _somebody_waits(folder: Path) -> bool:
    recent = time.time() - LONGEST_WAIT_S
    with suppress(OSError):
        return any(mark.stat().st_mtime > recent for mark in folder.glob(f"*{_SUFFIX}"))
    return False
