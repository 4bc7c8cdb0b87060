"""Writes and reads facts about the agent that only its own processes know, one line of JSON each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_written: set[tuple[str, str]] = set()


def write_fact(file: str, kind: str, **values: Any) -> None:
    """Appends a fact to the file, unless this process has written the same kind and values to it before.

    Several processes may write at once: a short line is written whole. Raises OSError.
    """
    line = json.dumps({"fact": kind, **values}) + "\n"
    if (file, line) not in _written:
        _written.add((file, line))
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read_facts(file: Path) -> list[dict[str, Any]]:
    """Returns all facts in the file so far, in order; none where no process has written."""
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
