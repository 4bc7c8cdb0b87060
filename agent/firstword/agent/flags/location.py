"""Where the flag file lies, where its last good copy lies, and whether either has changed."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from firstword.agent import folders

VARIABLE = "FLAGD_OFFLINE_FLAG_SOURCE_PATH"
"""flagd's own."""


def named_file() -> Path | None:
    """The flag file that `VARIABLE` names; None where it names none, and the shipped flags count."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def shipped_file() -> Path:
    """`deploy/flags.json`, which a wheel carries as package data and a checkout as it lies."""
    package = Path(__file__).parents[1]
    packaged = package / "data" / "flags.json"
    return packaged if packaged.exists() else package.parents[2] / "deploy" / "flags.json"


def flag_file() -> Path:
    """The file that holds the flags: the one that is named, else the one shipped."""
    return named_file() or shipped_file()


def last_good_copy(file: Path, folder: Path | None = None) -> Path:
    """Where the copy of this file lies: in `folder`, else in the worker's cache folder."""
    name = sha256(os.fsencode(file.absolute())).hexdigest()[:16]
    return (folder or folders.cache_folder()) / f"flags-{name}.json"


def signature(file: Path) -> object:
    """Changes whenever the file does: replaced, rewritten in place, or another behind the same link. Raises OSError."""
    now = file.stat()
    return now.st_ino, now.st_mtime_ns, now.st_ctime_ns, now.st_size
