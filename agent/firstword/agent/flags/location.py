"""Finds the flag file and its last good copy, and tells whether a file has changed."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from firstword.agent import folders

VARIABLE = "FLAGD_OFFLINE_FLAG_SOURCE_PATH"
"""Environment variable with the flag file's path; flagd's own."""


def named_file() -> Path | None:
    """Returns the path of the flag file that `VARIABLE` names, or None if it names none. Then the shipped flags count."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def shipped_file() -> Path:
    """Returns the path of the flag file that we ship: package data in a wheel, `deploy/flags.json` in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "data" / "flags.json"
    return packaged if packaged.exists() else package.parents[2] / "deploy" / "flags.json"


def flag_file() -> Path:
    """Returns the path of the flag file in use: the one that `VARIABLE` names, else the shipped one."""
    return named_file() or shipped_file()


def last_good_copy(file: Path, folder: Path | None = None) -> Path:
    """Returns the path of the last good copy of this flag file: in `folder`, else in the worker's cache folder."""
    name = sha256(os.fsencode(file.absolute())).hexdigest()[:16]
    return (folder or folders.cache_folder()) / f"flags-{name}.json"


def signature(file: Path) -> object:
    """Returns a value that changes whenever the file is replaced, rewritten, or another one lies behind its link.
    Raises OSError.
    """
    now = file.stat()
    return now.st_ino, now.st_mtime_ns, now.st_ctime_ns, now.st_size
