"""How every subcommand speaks: colour and bars for a terminal, plain text for a pipe, one line and an exit code for an error."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console

BAD_INPUT = 2
"""Exit code for what was typed or set wrong; 1 is for what went wrong, 130 for Ctrl-C."""
INTERRUPTED = 130


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Say what is wrong on standard error, without a traceback, and exit."""
    typer.echo(f"firstword: {message}", err=True)
    raise typer.Exit(code)


def console(*, stderr: bool = False) -> Console:
    """Where to print to. Nothing printed is taken for markup, and no number is coloured by guess."""
    return Console(stderr=stderr, markup=False, highlight=False)
