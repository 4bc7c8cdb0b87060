"""The folder that the processes of one running worker share: marks of unheard callers, and the socket of the worker's
metrics.

The worker's own process makes it; its jobs find it by the environment they inherit. A worker that was killed leaves its
folder behind. The next one to start deletes it: the folder's lock ended with the process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_VARIABLE: Final = "FIRSTWORD_RUN_FOLDER"
_PREFIX: Final = "firstword-run-"
_SOCKET: Final = "figures"
_LOST: Final = "lost"
"""A byte for each datagram that found the queue full."""
_NEW_S: Final = 60.0
"""Seconds for which a folder without a lock may be one that another worker is just making."""
_held: dict[Path, int] = {}
"""Folders that this process made, each with the descriptor that holds its lock."""


def make() -> Path:
    """Makes the worker's folder, names it in the environment, and returns its path. Also deletes folders of workers
    that were killed.

    Call it once, in the worker's own process, before any job's process is started. Raises OSError.
    """
    _remove_left_over()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    _held[folder] = _locked(folder)
    os.environ[_VARIABLE] = str(folder)
    return folder


def find() -> Path | None:
    """Returns the path of the worker's folder, or None if no worker made one (a console, a test)."""
    named = os.environ.get(_VARIABLE)
    return None if named is None else Path(named)


def remove() -> None:
    """Deletes the worker's folder and gives up its lock. Called when the worker ends."""
    if (folder := find()) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        if (lock := _held.pop(folder, None)) is not None:
            os.close(lock)
        del os.environ[_VARIABLE]


def socket_path(folder: Path) -> Path:
    """Returns the path of the socket on which the worker of this folder receives datagrams."""
    return folder / _SOCKET


def send(datagram: bytes) -> bool:
    """Sends a datagram to the worker without waiting. Returns False if that fails: there is no worker, its queue is
    full, or any other OSError.
    """
    folder = find()
    if folder is None:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(datagram, str(socket_path(folder)))
        except BlockingIOError:
            with suppress(OSError), (folder / _LOST).open("ab") as file:
                file.write(b".")
            return False
        except OSError:
            return False
    return True


def lost(folder: Path) -> int:
    """Returns how many datagrams of jobs were lost because the worker's queue was full."""
    try:
        return (folder / _LOST).stat().st_size
    except OSError:
        return 0


def _remove_left_over() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # in use, somebody else's, or just gone
            if time.time() - folder.stat().st_mtime > _NEW_S:
                lock = _locked(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder's lock until it is closed. Raises OSError where another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
