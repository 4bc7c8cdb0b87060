"""Finds in an agent's log why it failed: one line, with the line of the agent's own source where there is one.

The log is LiveKit's JSON, and between it what Python prints when it ends by an exception.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)
_BEGINS = "Traceback (most recent call last):"
_LIBRARIES = frozenset({"site-packages", "dist-packages", ".venv", "venv"})
_IN_AN_ENTRYPOINT = "unhandled exception while running the job task"
_BEFORE_A_JOB = "error initializing process"
"""LiveKit's words for an entrypoint that raised, and for a process that can take no job (livekit-agents 1.8.9). It makes
such a process again and again, and one that took too long may be ready the next time."""
_LONGEST = 300


class Failure(NamedTuple):
    """What went wrong in an agent, as its log tells."""

    message: str
    """The last line of the exception, with its type."""
    place: str | None
    """The agent's own line, as `agent.py:31`; None where no line of the agent's led to the exception."""
    ended: bool
    """Whether it ended an entrypoint, a process before its job, or the worker; another exception need not have."""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


def failure(log: str, folder: Path) -> Failure | None:
    """Returns the failure that the log tells of; one that ended something goes before any other. None where no exception
    is in it.

    folder: the agent's, in which its own files are.
    """
    failures = list(_failures(log, folder))
    return next((each for each in failures if each.ended), failures[0] if failures else None)


def complaint(log: str) -> str | None:
    """Returns the last warning or error of the log that has no exception, for want of a better reason; None for none."""
    for record in reversed(list(_records(log))):
        if record.get("level") in ("WARNING", "ERROR", "CRITICAL") and "exc_info" not in record:
            return str(record.get("message"))[:_LONGEST]
    return None


def shown_path(file: Path) -> str:
    """Returns a file's path as a person here would type it: from the current folder where it is below that."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def _failures(log: str, folder: Path) -> Iterator[Failure]:
    for record in _records(log):
        if record.get("level") in ("ERROR", "CRITICAL") and isinstance(record.get("exc_info"), str):
            # what comes from another process has the traceback behind its message as well
            message = str(record.get("message"))
            ended = message.startswith(_IN_AN_ENTRYPOINT) or (
                message.startswith(_BEFORE_A_JOB) and "TimeoutError" not in record["exc_info"]
            )
            yield _failure(record["exc_info"], folder, ended=ended)
    plain = [line for line in log.splitlines() if not line.startswith("{")]
    if _BEGINS in plain:
        begin = len(plain) - plain[::-1].index(_BEGINS) - 1
        yield _failure("\n".join(plain[begin:]), folder, ended=True)


def _records(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # cut, as its writer was killed
                continue


def _failure(traceback: str, folder: Path, *, ended: bool) -> Failure:
    own = [match for match in _FRAME.finditer(traceback) if _is_own(Path(match["file"]), folder)]
    place = f"{shown_path(Path(own[-1]['file']))}:{own[-1]['line']}" if own else None
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    # a message may have more lines than one: it begins after the last frame
    last = next(
        (line for line in reversed(lines) if re.match(r"^[\w.]+(Error|Exception|Exit|Warning|Simulated)\b", line)),
        lines[-1],
    )
    return Failure(last[:_LONGEST], place, ended)


def _is_own(file: Path, folder: Path) -> bool:
    return file.is_relative_to(folder) and not _LIBRARIES.intersection(file.relative_to(folder).parts)
