"""The line in which a command says what it read, for tests that are about something else."""

from __future__ import annotations


def without_account(error: str) -> str:
    """Standard error without that line."""
    return "".join(line for line in error.splitlines(keepends=True) if not line.startswith("Read: "))
