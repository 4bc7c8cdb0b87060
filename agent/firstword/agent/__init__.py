"""LiveKit agents that speak first: `speak_first` and its kin for any agent, and the shipped worker on top of the same parts.

Importing this imports nothing else: each name below brings its module when it is first used, since what a worker imports is time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firstword.agent.dispatch_end import delete_dispatch_at_end
    from firstword.agent.first_word import speak_first
    from firstword.agent.first_word_plan import speak_first_plan
    from firstword.agent.first_word_process import warm_up
    from firstword.agent.greeting.spoken_greeting import Greeting
    from firstword.agent.health import serve_health

__all__ = ["Greeting", "delete_dispatch_at_end", "serve_health", "speak_first", "speak_first_plan", "warm_up"]

_MODULES = {
    "dispatch_end": ("delete_dispatch_at_end",),
    "first_word": ("speak_first",),
    "first_word_plan": ("speak_first_plan",),
    "first_word_process": ("warm_up",),
    "greeting.spoken_greeting": ("Greeting",),
    "health": ("serve_health",),
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
