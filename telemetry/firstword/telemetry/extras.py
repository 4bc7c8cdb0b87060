"""What firstword says where an optional part of it is not installed: one line, with the command that installs it.

At the bottom of the layers, since each of them has parts that are optional: pyproject.toml lists the extras.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec


def install(extra: str) -> str:
    """The command that installs an extra beside the firstword that is there."""
    return f"pip install 'firstword[{extra}]'"


@contextmanager
def needed(extra: str, what: str, *later: str) -> Generator[None]:
    """Ends the program with one line and exit code 2 where an import inside fails for want of a package.

    extra: the one that brings the package. what: who needs it, the line's first words. later: packages that are looked
    for now, since they are imported when nobody reads the line any more. Where a module of firstword itself is missing
    that is a fault, and ModuleNotFoundError goes on.
    """
    try:
        for package in later:
            if find_spec(package) is None:
                raise ModuleNotFoundError(name=package)
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "firstword":
            raise
        print(f"{what} needs the package {error.name}; expected: {install(extra)}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
