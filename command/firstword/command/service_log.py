"""The log of a subcommand that runs as a service, on standard error: of `firstword tune --watch` and `firstword rescue`."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from firstword.command.terminal import tell


@contextmanager
def log_on_standard_error() -> Generator[None]:
    """Context manager in which firstword's log is printed, a line a record."""
    logger, handler = logging.getLogger("firstword"), _Lines()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    """A line a record, with nothing in it that moves a cursor."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the record."""
        now = datetime.fromtimestamp(record.created).astimezone()
        tell(f"{now:%Y-%m-%d %H:%M:%S} {record.levelname}: {record.getMessage()}", err=True)
