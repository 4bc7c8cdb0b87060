"""Prints for every subcommand: colour and bars for a terminal, plain text for a pipe, one line and an exit code for an
error.

All that the commands of traces print goes through here, and every name in it through `firstword.tuning.wording.shown`.
A trace comes from anybody, and a name may hold what moves a cursor, sets a title, or forges a line.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from firstword.tuning.wording import shown

BAD_INPUT = 2
"""Exit code for what was typed or set wrong; 1 is for what went wrong, 130 for Ctrl-C."""
INTERRUPTED = 130
_LEAST_WIDTH = 20
_IN_ASCII = str.maketrans("├└─│┊", "|`-|:")


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Prints on standard error what is wrong, without a traceback, and exits with `code`."""
    warn(message)
    raise typer.Exit(code)


def warn(message: str) -> None:
    """Prints in one line on standard error what is wrong."""
    tell(f"firstword: {message}", err=True)


def tell(line: str, *, err: bool = False) -> None:
    """Prints a line as it is, on standard output or standard error; what `shown` takes for not printable is escaped."""
    typer.echo(shown(line), err=err)


def tell_json(document: object, *, indent: int | None = 2) -> None:
    """Prints JSON in ASCII, so that a terminal can take no part of it for anything else."""
    typer.echo(json.dumps(document, indent=indent))


def say(line: str = "", style: str | None = None) -> None:
    """Prints a line: a pipe gets it whole; a terminal breaks what is too long, and cuts nothing."""
    say_text(styled(line, style or ""))


def say_below(line: str) -> None:
    """Prints what belongs to the line above, set in by two columns; so is each part of it where a terminal breaks it."""
    out, whole = console(), shown(line)
    parts = textwrap.wrap(whole, max(out.width - 2, _LEAST_WIDTH)) if out.is_terminal else [whole]
    for part in parts:
        say(f"  {part}")


def say_text(line: Text) -> None:
    """Prints a line that has its styles, as `say` does."""
    out = console()
    if not out.encoding.lower().startswith("utf"):
        line.plain = line.plain.translate(_IN_ASCII)
    if out.is_terminal:
        out.print(line, overflow="fold")
    else:
        out.print(line, soft_wrap=True)  # with an overflow of its own it would be cut


def styled(text: str, style: str = "") -> Text:
    """Returns the text on one line in a style, with what is not printable in it escaped."""
    return Text(shown(text), style)


def console(*, stderr: bool = False) -> Console:
    """Returns a console to print to. It takes nothing for markup or an emoji's code, and colours no number by guess."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


class Columns(Table):
    """A table without lines; what is not printable in a heading or a cell is escaped."""

    def __init__(self, *, gap: int = 1) -> None:
        """gap: columns of blanks between two of its own."""
        super().__init__(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")

    def add_column(self, header: Any = "", *arguments: Any, **options: Any) -> None:
        """Adds a column as rich's `Table` does; what is not printable in its heading is escaped."""
        super().add_column(shown(header) if isinstance(header, str) else header, *arguments, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Adds a row as rich's `Table` does; what is not printable in its cells is escaped."""
        super().add_row(*(shown(cell) if isinstance(cell, str) else cell for cell in cells), **options)
