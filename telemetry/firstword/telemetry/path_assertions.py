"""Asserts what is on a critical path, by names. The test kits of a plan, of an agent, and of recorded starts share it.

PYTEST_DONT_REWRITE: the assertions here have messages of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby


def in_turn(names: Iterable[str]) -> list[str]:
    """Returns the names in their order; one that follows itself stands once."""
    return [name for name, _ in groupby(names)]


def assert_on_path(path: Sequence[str], tasks: Iterable[str]) -> None:
    """Asserts that each of these tasks is among the names of the path."""
    missing = [task for task in tasks if task not in path]
    assert not missing, f"not on the critical path: {', '.join(missing)}; it is {' > '.join(path)}"  # noqa: S101


def assert_not_on_path(path: Sequence[str], tasks: Iterable[str]) -> None:
    """Asserts that none of these tasks is among the names of the path."""
    present = [task for task in tasks if task in path]
    assert not present, f"on the critical path: {', '.join(present)}; it is {' > '.join(path)}"  # noqa: S101
