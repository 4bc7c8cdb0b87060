"""Guards the command at its edge: whatever file, terminal, pipe, home or locale there is, it ends in a line and an exit
code.

Around the `firstword` command. Inside of it, errors that are expected have messages of their own. Here are those of the
machine, and faults of firstword, whose traceback goes to a file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import TextIO, cast

from firstword.tuning.wording import shown


def guarded(run: Callable[[], object]) -> int:
    """Runs a command and returns its exit code. Prints any exception as one line; raises nothing but KeyboardInterrupt."""
    for stream in (sys.stdout, sys.stderr):
        _write_anything(stream)
    try:
        code = _run(run)
    except Exception as error:
        code = 1
        _say(_of_machine(error) if isinstance(error, OSError) else _of_ours(error))
    return code if _flushed(sys.stdout) and _flushed(sys.stderr) else code or 1


def _run(run: Callable[[], object]) -> int:
    try:
        run()
    except SystemExit as exit_:
        if exit_.code is None or isinstance(exit_.code, int):
            return exit_.code or 0
        _say(str(exit_.code))
        return 1
    return 0


def _write_anything(stream: TextIO | None) -> None:
    """A letter that the locale's encoding has not is written by its number, instead of an error after half of the output."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _of_machine(error: OSError) -> str:
    """A disk that is full, a home that can't be written to."""
    what = "the output" if error.filename is None else str(error.filename)
    return f"{what} can't be used: {error.strerror or error}"


def _of_ours(error: Exception) -> str:
    says = f"a fault in firstword: {type(error).__name__}: {error}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="firstword-fault-", suffix=".txt", delete=False) as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return says
    return f"{says}; where it happened is in {file.name}"


def _say(message: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # then nobody can be told
        print(f"firstword: {shown(message)}", file=sys.stderr, flush=True)


def _flushed(stream: TextIO | None) -> bool:
    """Whether all was written; else the rest goes nowhere, so that the interpreter's own flush has no traceback."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except OSError as error:
        if error.errno != errno.EPIPE and stream is not sys.stderr:
            _say(_of_machine(error))
        os.dup2(os.open(os.devnull, os.O_WRONLY), cast("TextIO", stream).fileno())
        return False
    return True
