"""Chooses the folders for the worker's own files, for its user alone: caches and, if no setting names a store, the
accounts.

A container may have no home folder, or one that cannot be written to. Then a folder of this user among the temporary
files is used. It is gone with the container. One line in the log says so.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

logger = logging.getLogger("firstword")

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """Returns the user's folder for caches, or one among the temporary files if that cannot be used. It may not exist
    yet.
    """
    from platformdirs import user_cache_path

    return _usable(user_cache_path, "caches")


def data_folder() -> Path:
    """Returns the user's folder for the accounts' database, or one among the temporary files. It may not exist yet."""
    from platformdirs import user_data_path

    return _usable(user_data_path, "accounts")


def make_private(folder: Path) -> None:
    """Makes the folder if it does not exist, and lets nobody but this user write into it. Raises OSError if it belongs
    to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid not in (os.geteuid(), 0):
        raise PermissionError(f"{folder} belongs to another user")
    if found.st_mode & _OTHERS and found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode):
        folder.chmod(0o700)


def can_be_written(folder: Path) -> bool:
    """Returns whether the folder can be written to or, if it does not exist, can be made. False for a relative path."""
    try:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        return folder.is_absolute() and there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError:
        return False


def _usable(of_user: Callable[[str], Path], what: str) -> Path:
    try:
        folder = of_user("firstword")
    except RuntimeError:  # platformdirs: the user has no home folder
        why = "this user has no home folder"
    else:
        if can_be_written(folder):
            return folder
        why = f"{folder} cannot be written to"
    instead = Path(tempfile.gettempdir()) / f"firstword-{os.geteuid()}"
    _say(what, instead, why)
    return instead


@cache
def _say(what: str, instead: Path, why: str) -> None:
    logger.warning("%s are kept in %s, since %s", what, instead, why)
