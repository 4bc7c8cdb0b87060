"""What may be set of a call, whoever's agent it is; times are seconds. The shipped worker reads them from the environment.

Bottom of the package: `firstword.agent.settings` takes its defaults from here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CallSettings:
    """How long a call waits for what, and what it keeps for handlers that come later."""

    start_timeout: float = 30
    """A start: until the room is there, and again from the caller's arrival until they hear something."""
    caller_timeout: float = 300
    """A caller who isn't there."""
    return_grace: float = 5
    """A caller who left and may come back."""
    max_call: float = 7200
    """A whole call; the agent ends a longer one."""
    greeting_deadline: float = 2
    """What writes the greeting, and its audio once that has begun."""
    speech_deadline: float = 2
    """The greeting's first audio; then what ships with the package is said."""
    apology: str | None = None
    """A sound file for a call that can't go on; `{language}` in it stands for the caller's. None: what ships with the package."""
    kept_topics: tuple[str, ...] = ()
    """Streams on these topics wait for their handler, from the connect on."""
    kept_methods: tuple[str, ...] = ()
    """So do calls of these RPC methods."""


DEFAULTS = CallSettings()
