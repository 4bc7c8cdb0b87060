"""What a subcommand that runs as a service has beside its work: its log on standard error, its name in metrics.

For `firstword tune --watch` and `firstword rescue`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from firstword.command.terminal import tell


def service_resource(service: str) -> Resource:
    """Returns the resource of a service's metrics, by this name unless the environment names another."""
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create() if named else Resource.create({SERVICE_NAME: service})


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
