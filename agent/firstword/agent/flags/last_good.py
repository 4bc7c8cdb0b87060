"""Follows the flag file while a worker runs, and keeps a copy of the flags that were last good, which jobs read.

In the worker's main process; `firstword.agent.flags.flag_source` reads the copy where jobs run.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from firstword.agent import folders
from firstword.agent.flags.flag_file import FlagFile, FlagFileError, parse
from firstword.agent.flags.flag_set import ALL_OFF, FlagSet
from firstword.agent.flags.improvements import Subject
from firstword.agent.flags.location import flag_file, last_good_copy, signature

logger = logging.getLogger("firstword")


class LastGoodKeeper:
    """Follows the flag file while the worker runs, in a thread. Copies good flags, for jobs to read; warns once of a
    bad file.

    A context manager of the worker's main process. It encloses all that starts other processes, so that the first of
    them finds a copy.
    """

    def __init__(self, subjects: Mapping[str, Subject], *, folder: Path | None = None, every: float = 1.0) -> None:
        """subjects: see `parse`. folder: see `last_good_copy`. every: seconds between two looks."""
        self._subjects = subjects
        self._file = flag_file()
        self._copy = last_good_copy(self._file, folder)
        self._every = every
        self._seen: object = None
        self._now: FlagSet | None = None
        self._broken = False
        self._said: frozenset[str] = frozenset()
        """Flags that can't be taken, and remarks: what the log has already."""
        self._unkept = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="flag file", daemon=True)

    def __enter__(self) -> LastGoodKeeper:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        """Reads the flag file if it has changed, and copies its flags if they are good. Logs what can't be used."""
        try:
            seen = signature(self._file)
            if seen != self._seen:
                self._seen = seen
                self._good(parse(self._file.read_bytes(), self._subjects))
        except FlagFileError as error:
            self._bad(str(error))
        except OSError as error:
            self._seen = None  # may be readable next time without having changed
            self._bad(f"expected a file that can be read; possible cause: {error.strerror or type(error).__name__}")
        if self._now is not None and not os.path.exists(self._copy):  # somebody has cleaned the cache folder
            self._keep(self._now)

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            self.look()

    def _good(self, file: FlagFile) -> None:
        if self._broken:
            logger.info("the flags in %s are good again", self._file)
        self._broken = False
        before = self._now or self._copied()
        for name in file.bad.keys() - self._said:
            meanwhile = "its last good rule counts" if name in before.flags else "it is off"
            logger.warning("%s in %s can't be taken: %s; %s", name, self._file, file.bad[name], meanwhile)
        for remark in set(file.remarks) - self._said:
            logger.warning("%s; in %s", remark, self._file)
        for name in self._said.intersection(file.flags):
            logger.info("%s in %s is good again", name, self._file)
        self._said = frozenset({*file.bad, *file.remarks})
        self._now = before.followed_by(file)
        self._keep(self._now)

    def _bad(self, why: str) -> None:
        if not self._broken:
            meanwhile = "the last good flags count" if os.path.exists(self._copy) else "all flags are off"
            logger.warning("the flags in %s can't be taken: %s; %s", self._file, why, meanwhile)
        self._broken = True

    def _copied(self) -> FlagSet:
        """The flags that were good when a worker last looked."""
        try:
            return ALL_OFF.followed_by(parse(self._copy.read_bytes(), self._subjects))
        except (OSError, FlagFileError):
            return ALL_OFF

    def _keep(self, flags: FlagSet) -> None:
        new = self._copy.with_suffix(f".{os.getpid()}.new")
        try:
            folders.make_private(self._copy.parent)
            with open(new, "wb", opener=_for_this_user) as file:
                file.write(flags.as_file())
            new.replace(self._copy)
            self._unkept = False
        except OSError as error:
            if not self._unkept:
                logger.warning("no copy of the flags can be kept in %s (%s)", self._copy.parent, error.strerror)
            self._unkept = True


def _for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
