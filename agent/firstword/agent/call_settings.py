"""The settings that any agent's call has. All times are in seconds. The shipped worker reads them from the environment.

Bottom of the package: `firstword.agent.settings` takes its defaults from here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CallSettings:
    """The time limits of one call, in seconds, its apology, and which early messages it keeps until they have a
    handler.
    """

    start_timeout: float = 30
    """Limit of a start: until the room is joined, and again from the caller's arrival until they hear something."""
    caller_timeout: float = 300
    """How long the agent waits in the room for a caller to come."""
    return_grace: float = 5
    """How long a caller who left may take to come back before the call ends."""
    max_call: float = 7200
    """The longest call. The agent ends a longer one."""
    greeting_deadline: float = 2
    """Limit for writing the greeting, and for a gap in its audio once that has begun."""
    speech_deadline: float = 2
    """Limit until the greeting's first audio. After it the shipped greeting is played."""
    apology: str | None = None
    """Path of a sound file to play when a call can't go on; None: the shipped one. `{language}` in it stands for the
    caller's.
    """
    kept_topics: tuple[str, ...] = ()
    """Byte and text streams on these topics are kept, from the connect on, until their handler is registered."""
    kept_methods: tuple[str, ...] = ()
    """Calls of these RPC methods are kept in the same way."""


DEFAULTS = CallSettings()
