"""The folder that the processes of one running worker share: who waits unheard, where figures are sent, what was refused.

Made by the worker's own process, known to those of its jobs by the environment they inherit.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_VARIABLE = "FIRSTWORD_RUN_FOLDER"


def make() -> Path:
    """Make the folder; once, in the worker's own process, before any job's process is started."""
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="firstword-")
    return Path(os.environ[_VARIABLE])


def find() -> Path | None:
    """The folder; None where no worker made one (a console, a test)."""
    named = os.environ.get(_VARIABLE)
    return None if named is None else Path(named)


def remove() -> None:
    """The worker ends."""
    if (folder := find()) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        del os.environ[_VARIABLE]
