"""Changes the share of one flag in a flag file, and leaves the rest of the file as it is.

The last station of the way back: `firstword.tuning.rollout` decides, `firstword tune` writes by this, the keeper in
every worker follows. What `tune` has to remember lies in the flag's own `metadata`, so that share and reason change in
one rename.
"""

from __future__ import annotations

import copy
import fcntl
import os
import tempfile
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from firstword.agent.flags.flag_file import FlagFile, FlagFileError, parse, read
from firstword.agent.flags.improvements import Subject

PERCENT, SINCE, REASON, TURNED_BACK = "tune.percent", "tune.since", "tune.reason", "tune.turned_back"
"""Keys of a flag's metadata: its share when it was last moved, when that was, why, and whether it was turned back."""

PROVEN = "tune.proven"
"""Key of the metadata of the flag that changes nothing: the tuner was tried on it, and found no difference."""

_OTHERS_MAY_TAKE_S = 5.0
_NEW: Mapping[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}}


@dataclass(frozen=True, slots=True)
class Move:
    """A new share for one flag, to be written with its reason."""

    flag: str
    percent: int
    """Percent of the sessions that get `on`."""
    reason: str
    time: float
    """Seconds since the Unix epoch."""
    turned_back: bool = False
    proven: bool = False
    """Whether the tuner was tried on this flag, and found no difference."""


class FlagFileWriter:
    """Writes changes to a flag file, but only while the file is the same as when it was read."""

    def __init__(self, path: Path, subjects: Mapping[str, Subject]) -> None:
        """Reads the file at `path`; if that is a link, the file it leads to. subjects: see `parse`. Raises
        FlagFileError.
        """
        self.path = _behind_links(path)
        self._subjects = subjects
        self.file: FlagFile = read(self.path, subjects)
        try:
            self.changed: float = self.path.stat().st_mtime
            """Seconds since the Unix epoch."""
        except OSError as error:  # it has gone meanwhile
            raise FlagFileError(f"{self.path}: expected a file that stays; possible cause: {error.strerror}") from None

    @property
    def previous(self) -> Path:
        """Returns the path at which the file is kept as it was before the last move."""
        return self.path.with_name(self.path.name + ".previous")

    def write(self, moves: Sequence[Move]) -> None:
        """Changes the shares of flags, and writes the reasons into their metadata.

        The file and its previous version are each replaced whole, so that no reader sees half of one. Raises
        FlagFileError if the file was changed since it was read, a worker would not take a flag, or it can't be written.
        """
        try:
            content = moved(self.file, moves, self._subjects)
        except FlagFileError as error:
            raise FlagFileError(f"{self.path}: {error}") from None
        try:
            with _alone(self.path.parent):
                before = self.path.read_bytes()
                if before != self.file.source.content:
                    raise FlagFileError(
                        f"{self.path}: expected the file as it was read; possible cause: somebody changed it"
                    )
                replace(self.previous, before)
                replace(self.path, content)
        except OSError as error:
            raise not_written(self.path, error) from error


def moved(file: FlagFile, moves: Iterable[Move], subjects: Mapping[str, Subject]) -> bytes:
    """Returns the content of the flag file after these moves. A flag that it does not name yet is added.

    subjects: see `parse`. Raises FlagFileError if a worker would not take a flag.
    """
    for move in moves:
        entry = cast("dict[str, Any] | None", file.source.value["flags"].get(move.flag))
        if entry is None:
            content = file.source.added(("flags",), move.flag, _moved(_NEW, move))
        else:
            content = file.source.replaced(("flags", move.flag), _moved(entry, move))
        file = parse(content, subjects)
        if move.flag not in file.flags or file.flags[move.flag].percent != move.percent:
            raise FlagFileError(
                f"expected a flag that workers take; {move.flag}: {file.bad.get(move.flag, 'no share')}"
            )
    return file.source.content


def begin(path: Path, shipped: Path, subjects: Mapping[str, Subject]) -> None:
    """Makes a flag file at `path`, where none may exist, for a new rollout: the flags of `shipped`, all with default
    variant off.

    Raises FlagFileError.
    """
    path = _behind_links(path)
    source = read(shipped, subjects).source
    entries: dict[str, Any] = {}
    for name, entry in source.value["flags"].items():
        entries[name] = {**entry, "defaultVariant": "off"}
    content = source.replaced(("flags",), entries)
    try:
        with _alone(path.parent):
            if path.exists():
                raise FlagFileError(
                    f"{path}: expected no file; possible cause: another `firstword tune` has just made it"
                )
            replace(path, content)
    except OSError as error:
        raise not_written(path, error) from error


def _behind_links(path: Path) -> Path:
    real = Path(os.path.realpath(path))
    if os.path.islink(real):
        raise FlagFileError(f"{path}: expected a file that can be read; possible cause: a link that leads to itself")
    return real


def _moved(entry: Mapping[str, Any], move: Move) -> dict[str, Any]:
    """The flag with another share; by what sessions are drawn, and which of them go first, stays as it is."""
    moved = copy.deepcopy(dict(entry))
    targeting = entry.get("targeting")
    parts: list[Any] = targeting["fractional"] if targeting else []
    shares = [["on", move.percent], ["off", 100 - move.percent]]
    if [part[0] for part in parts if isinstance(part, list)][:1] == ["off"]:
        shares.reverse()
    moved["defaultVariant"] = "on" if move.percent == 100 else "off"
    moved["targeting"] = {"fractional": [*(part for part in parts if not isinstance(part, list)), *shares]}
    metadata = entry.get("metadata")
    kept = cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}
    moved["metadata"] = {key: value for key, value in kept.items() if key not in (TURNED_BACK, PROVEN)} | {
        PERCENT: move.percent,
        SINCE: datetime.fromtimestamp(move.time, UTC).isoformat(timespec="seconds"),
        REASON: move.reason,
        **({TURNED_BACK: True} if move.turned_back else {}),
        **({PROVEN: True} if move.proven else {}),
    }
    return moved


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Keeps other `tune`s off the files of this folder. Raises FlagFileError where one of them takes too long, OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        given_up = time.monotonic() + _OTHERS_MAY_TAKE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > given_up:
                    raise FlagFileError(
                        f"{folder}: expected to be alone; possible cause: another `firstword tune` writes there"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)  # which gives the lock back


def replace(path: Path, content: bytes) -> None:
    """Replaces a file whole, by a rename; no reader sees half of it, and a lost power loses none. Raises OSError."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(beside).chmod(mode)  # mkstemp's is for its owner alone; a worker may be another user
        Path(beside).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # without it a rename may be lost with the power
        finally:
            os.close(folder)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise


def not_written(path: Path, error: OSError) -> FlagFileError:
    """Returns what to raise for a file that can't be written."""
    return FlagFileError(f"{path}: expected a file that can be written; possible cause: {error.strerror}")
