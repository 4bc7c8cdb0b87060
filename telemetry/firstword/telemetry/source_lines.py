"""Tells which files are the user's own, and turns a code object and an offset into file, line and function.

The bottom of the observed path: a record asks only whether a file is the user's, the rest is asked after the first
word.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

_OURS = str(Path(__file__).parents[1]) + os.sep
"""What lies beside telemetry in `firstword` too: the folder of `observe_folder` may have more than telemetry."""
_LIBRARY = tuple(
    {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {_OURS, "<"}
)
_PACKAGES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))


class SourceLine(NamedTuple):
    """A line of source: file, line number and function."""

    file: str
    line: int
    function: str
    """The function's qualified name."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}".rstrip()


@functools.cache
def is_users(file: str) -> bool:
    """Returns whether a file is the user's own: not of the standard library, of an installed package, or of this
    package.
    """
    return not file.startswith(_LIBRARY) and not any(part in file for part in _PACKAGES)


def line_of(code: CodeType, offset: int) -> SourceLine:
    """Returns the source line of the instruction at an offset. If the code does not say, the function's first line."""
    position = next(itertools.islice(code.co_positions(), max(offset, 0) // 2, None), None)
    line = None if position is None else position[0]
    return SourceLine(code.co_filename, line or code.co_firstlineno, code.co_qualname)


def started_folder(entrypoint: Callable[..., Any]) -> str:
    """Returns the folder of the file that was started, in any of its processes. Empty if there is none.

    entrypoint: the job's. If a library was started, as by `python -m livekit.agents`, the folder of the entrypoint's
    file is returned.
    """
    for name in ("__mp_main__", "__main__"):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and is_users(file):
            return str(Path(file).absolute().parent)
    code = getattr(inspect.unwrap(entrypoint), "__code__", None)
    return "" if code is None else str(Path(code.co_filename).absolute().parent)


def relative(file: str, folder: str) -> str:
    """Returns the path of a file relative to a folder or, if it is elsewhere, to where it is imported from; else only
    its name.

    So no path names a machine's user.
    """
    path = Path(file).absolute()
    for base in (folder, *sorted(filter(None, sys.path), key=len, reverse=True)):
        if base and path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return path.name
