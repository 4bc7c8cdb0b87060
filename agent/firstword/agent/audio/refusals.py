"""Remembers for a while which voices and languages of accounts the providers have refused.

Each job has a process of its own. What one learns is kept in the folder that the processes of a worker share. The
process that makes greetings ahead reads and writes it too. Without a folder (a console, a test) this object alone
remembers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

REMEMBERED_S: Final = 3600.0
"""Seconds for which a refusal is remembered. A provider gets new voices by the week, and one refused request an hour
costs nobody anything.
"""
_SUFFIX: Final = ".refused"


class Refusals:
    """Remembers which values of which fields of an account the provider has refused, for `REMEMBERED_S` seconds.

    folder: the running worker's, or None. now: Unix time, seconds.
    """

    def __init__(self, folder: Path | None, *, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now
        self._own: dict[str, float] = {}

    def known(self, field: str, value: str) -> bool:
        """Returns whether the provider has refused this value of the field within the last `REMEMBERED_S` seconds."""
        name = _name(field, value)
        refused = self._own.get(name)
        if refused is None and self._folder is not None:
            with contextlib.suppress(OSError):  # nobody was refused it, or the worker has ended
                refused = (self._folder / name).stat().st_mtime
        return refused is not None and self._now() - refused < REMEMBERED_S

    def add(self, field: str, value: str) -> bool:
        """Records that the provider has refused this value now. Returns False if that was known already."""
        if self.known(field, value):
            return False
        name = _name(field, value)
        self._own[name] = self._now()
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / name).touch()
        return True


def _name(field: str, value: str) -> str:
    """A file's name, whatever is in an account."""
    return hashlib.sha256(json.dumps([field, value]).encode()).hexdigest() + _SUFFIX
