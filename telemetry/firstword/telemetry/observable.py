"""Says which Python and which event loop can be observed. The one place that does."""

from __future__ import annotations

import asyncio
import sys
from asyncio import selector_events
from platform import python_implementation, python_version

PYTHONS = ((3, 11), (3, 13))
"""The first and the last version of CPython whose event loop is known. `firstword.telemetry.loop_hooks` names what it
knows of it.
"""


def why_not(loop: asyncio.AbstractEventLoop) -> str | None:
    """Returns in words why no start on this loop can be observed; None if it can."""
    first, last = (".".join(map(str, version)) for version in PYTHONS)
    if sys.implementation.name != "cpython" or not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return f"Python is {python_implementation()} {python_version()}; expected CPython {first} to {last}"
    if not isinstance(loop, selector_events.BaseSelectorEventLoop):
        kind = type(loop)
        return f"the event loop is {kind.__module__}.{kind.__qualname__}; expected asyncio's own for Linux and macOS"
    return None
