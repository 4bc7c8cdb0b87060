"""Loads what is set where a command runs, as a worker there would read it: the environment, which `.env.local` fills."""

from __future__ import annotations

import os
from collections.abc import Mapping

import typer

from firstword.agent import env_file
from firstword.agent.env_file import EnvFileError
from firstword.command.terminal import BAD_INPUT, fail


def load_environment() -> Mapping[str, str]:
    """Reads `.env.local` into the environment, and returns the environment.

    Prints what is wrong in the file; ends the command where it can't be read.
    """
    try:
        file = env_file.load()
    except EnvFileError as error:
        fail(str(error), code=BAD_INPUT)
    for fault in file.faults_in(os.environ):
        typer.echo(f"firstword: {fault}", err=True)
    return os.environ
