"""Where the flags are that the tuner moves, with all that belongs to them: pause, history, lease. Here: a file.

`firstword.command.tuner.config_map` is the other one. Above `firstword.agent.flags.writer`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from firstword.agent.flags.flag_file import FlagFile, FlagFileError
from firstword.agent.flags.improvements import DRAWN
from firstword.agent.flags.writer import FlagFileWriter, Move, not_written, replace
from firstword.command.signals import finishing
from firstword.command.tuner.file_lease import FileLease
from firstword.command.tuner.history import HistoryEntry, as_text, from_text


class Lease(Protocol):
    """What one tuner at a time has."""

    def hold(self) -> str | None:
        """Takes the lease, or keeps it. Returns None if this tuner has it now, else who has it. Raises FlagFileError."""
        ...

    def release(self) -> None:
        """Gives the lease back, so that another tuner need not wait."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFlags:
    """The flags as they were read."""

    name: str
    """Of the file, or object, that they are in."""
    file: FlagFile
    changed: float
    """When they were last changed, in seconds since the Unix epoch."""
    paused: str | None
    """Why the tuner must not move any; None where it may."""


class FlagStore(Protocol):
    """A place of flags. Whatever can't be read or written raises FlagFileError."""

    name: str
    lease: Lease

    @property
    def clock_ahead(self) -> float:
        """Returns by how many seconds the clock of the store is ahead of ours; 0 where it has none of its own."""
        ...

    def read(self) -> StoredFlags:
        """Reads the flags."""
        ...

    def write(self, moves: Sequence[Move], entries: Sequence[HistoryEntry]) -> str:
        """Writes moves to the flags that were read last, and says in words what was written.

        Raises FlagFileError, and changes nothing, if somebody has changed the flags since.
        """
        ...

    def record(self, entries: Sequence[HistoryEntry]) -> None:
        """Adds to the history."""
        ...

    def history(self) -> list[HistoryEntry]:
        """Returns what the tuner did, the oldest first."""
        ...

    def pause(self, reason: str | None) -> None:
        """Stops the tuner for that reason; with None lets it go on."""
        ...


class FileStore:
    """A flag file. Beside it lie `FILE.paused`, `FILE.history` and `FILE.lease`."""

    clock_ahead = 0.0

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._writer: FlagFileWriter | None = None
        self.lease: Lease = FileLease(self._beside("lease"))

    def read(self) -> StoredFlags:
        """Reads the file; behind a link, the one that it leads to. Raises FlagFileError."""
        writer = self._writer = FlagFileWriter(self._path, DRAWN)
        return StoredFlags(self.name, writer.file, writer.changed, self._paused())

    def write(self, moves: Sequence[Move], entries: Sequence[HistoryEntry]) -> str:
        """Replaces the file, then adds to the history. Who is told to end meanwhile does both first. Raises FlagFileError."""
        writer = self._writer or FlagFileWriter(self._path, DRAWN)
        with finishing():
            writer.write(moves)
            self._writer = None
            self.record(entries)
        return f"Written to {self._path}; before: {writer.previous.name}"

    def record(self, entries: Sequence[HistoryEntry]) -> None:
        """Replaces the history whole. Raises FlagFileError."""
        path = self._beside("history")
        try:
            replace(path, as_text([*self.history(), *entries]).encode())
        except OSError as error:
            raise not_written(path, error) from error

    def history(self) -> list[HistoryEntry]:
        """Returns what the tuner did; nothing where there is no history yet. Raises FlagFileError."""
        path = self._beside("history")
        try:
            return from_text(path.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise FlagFileError(f"{path}: expected a file that can be read; possible cause: {error.strerror}") from None

    def pause(self, reason: str | None) -> None:
        """Makes or removes `FILE.paused`. Raises FlagFileError."""
        path = self._beside("paused")
        try:
            if reason is None:
                path.unlink(missing_ok=True)
            else:
                replace(path, f"{reason}\n".encode())
        except OSError as error:
            raise not_written(path, error) from error

    def _paused(self) -> str | None:
        path = self._beside("paused")
        try:
            reason = path.read_text(encoding="utf-8", errors="replace")
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
        except FileNotFoundError:
            return None
        except OSError as error:  # it is there, whatever is in it
            return f"{path} can't be read: {error.strerror}"
        return f"{path} is there since {since}" + (f": {reason.strip()}" if reason.strip() else "")

    def _beside(self, what: str) -> Path:
        return Path(f"{os.path.abspath(self._path)}.{what}")  # a path such as `.` has no name
