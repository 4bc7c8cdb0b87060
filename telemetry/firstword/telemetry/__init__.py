"""Makes a start a trace, for any LiveKit agent: the names that an agent of your own needs.

Importing this imports nothing else: each name below brings its module when it is first used, since what a worker
imports is time. What is not listed is imported from its module, such as `firstword.telemetry.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firstword.telemetry.export import Exporting, exporters_from_environment
    from firstword.telemetry.livekit import caller_joined, first_frame, start_of
    from firstword.telemetry.plan import Plan, when
    from firstword.telemetry.run import Run, StartFailed
    from firstword.telemetry.vocabulary import CONNECT, GREET, WAIT

__all__ = [
    "CONNECT",
    "GREET",
    "WAIT",
    "Exporting",
    "Plan",
    "Run",
    "StartFailed",
    "caller_joined",
    "exporters_from_environment",
    "first_frame",
    "start_of",
    "when",
]

_MODULES = {
    "export": ("Exporting", "exporters_from_environment"),
    "livekit": ("caller_joined", "first_frame", "start_of"),
    "plan": ("Plan", "when"),
    "run": ("Run", "StartFailed"),
    "vocabulary": ("CONNECT", "GREET", "WAIT"),
}
"""Where each name is, the same as a type checker reads above."""


def __getattr__(name: str) -> object:
    """The public name, from its module, which is imported now. Raises AttributeError for any other name."""
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names and what is imported so far: for completion in a shell."""
    return sorted({*globals(), *__all__})
