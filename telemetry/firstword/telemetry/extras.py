"""Says in one line which command installs an optional part of firstword that is missing.

At the bottom of the layers, since each of them has parts that are optional: pyproject.toml lists the extras.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec


def install(extra: str) -> str:
    """Returns the pip command that installs an extra of firstword."""
    return f"pip install 'firstword[{extra}]'"


@contextmanager
def needed(extra: str, what: str, *later: str) -> Generator[None]:
    """Context manager that ends the program with one line and exit code 2 if an import inside fails because a package
    is missing.

    extra: the one that brings the package. what: who needs it, the line's first words. later: packages that are checked
    now, because they are imported too late for a message. If a module of firstword itself is missing,
    ModuleNotFoundError is raised.
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
