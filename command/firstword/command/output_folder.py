"""Finds the folder that a command writes its run into: the one that was typed, or a new one by date and time."""

from __future__ import annotations

from pathlib import Path

from firstword.command.terminal import BAD_INPUT, fail
from firstword.rehearsal.result import new_folder


def output_folder(output: Path | None, *, below: Path) -> Path:
    """Returns the folder of one run, made and empty: files of another run would mix with its own.

    output: as typed; None: a new folder `below/DATE-TIME`. Ends the command if it can't be made, or is not empty.
    """
    try:
        if output is None:
            return new_folder(below)
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            fail(f"--output {output} is not empty; expected a new or empty folder", code=BAD_INPUT)
    except OSError as error:
        fail(f"{output or below} can't be made or read: {error.strerror}", code=BAD_INPUT)
    return output
