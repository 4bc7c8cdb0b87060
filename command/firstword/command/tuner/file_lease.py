"""One tuner at a time for one flag file: a lock on a file beside it, which the system takes back from whoever ends.

Below `firstword.command.tuner.flag_store`. For one machine; several have a Kubernetes Lease.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from firstword.agent.flags.flag_file import FlagFileError


class FileLease:
    """A lock on the file at a path. It says in the file who has it, for people."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def hold(self) -> str | None:
        """Takes the lock, or keeps it. Returns None if it is ours, else who has it. Raises FlagFileError."""
        try:
            if self._descriptor is not None:
                if self._is_there(self._descriptor):
                    return None
                self.release()  # somebody has deleted the file, and another tuner may have locked a new one
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 200).decode(errors="replace").strip()
                os.close(descriptor)
                return holder or "another tuner"
            self._descriptor = descriptor
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        except OSError as error:
            raise FlagFileError(
                f"{self._path}: expected a file that can be locked; possible cause: {error.strerror}"
            ) from None
        return None

    def release(self) -> None:
        """Gives the lock back. The file stays: whoever removed it might remove another tuner's."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_there(self, descriptor: int) -> bool:
        ours = os.fstat(descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
