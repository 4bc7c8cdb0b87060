"""What an account, its last session and a session's row are: the data that store, cache, greeting and assistant share.

Bottom of the package: imports nothing of ours. No repr of these shows a field, as all of it is the caller's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, repr=False)
class GreetingFields:
    """The part of an account that the greeting needs, and so the first to be read."""

    id: str
    name: str
    language: str
    """BCP 47: `en`, `de-AT`."""
    time_zone: str
    """IANA: `Europe/Berlin`."""
    voice: str
    """Name of the TTS voice; empty for the one in the settings."""
    greeting: str
    """Template with `{name}` and `{salutation}`: see agent/greeting_text.py."""


@dataclass(frozen=True, slots=True, repr=False)
class Account(GreetingFields):
    """A whole account."""

    instructions: str
    """For the LLM."""
    tools: tuple[str, ...]
    """Names of the tools that the assistant may call."""
    knowledge: tuple[str, ...]
    """Texts that the assistant can look things up in."""


@dataclass(frozen=True, slots=True, repr=False)
class LastSession:
    """Resumption data: what the account's last session was about."""

    ended: float
    """Unix time, seconds."""
    summary: str
    left_open: str
    """What was not settled; empty when nothing was left."""


@dataclass(frozen=True, slots=True, repr=False)
class SessionRow:
    """Analytics of one session. Written when it has started, and again under the same id when it has ended."""

    id: str
    """LiveKit's job id."""
    account: str | None
    """Id of the account; None for the generic one."""
    started: float
    """Unix time, seconds."""
    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    """Flag name -> variant."""
    first_word: float | None = None
    """Time to first word, seconds; None without one."""
    ended: str | None = None
    """How it ended, in a word; None while it lasts."""
    turns: int | None = None
    """Messages of caller and agent; None while it lasts."""
    errors: int | None = None
    """Failures of STT, LLM and TTS; None while it lasts."""


GENERIC: Final = Account(
    id="",
    name="",
    language="en",
    time_zone="UTC",
    voice="",
    greeting="Hello! How can I help you today?",
    instructions=(
        "You are a friendly voice assistant. Nobody has told you who is calling: ask when you need to know. "
        "Answer in one or two short spoken sentences, without lists or markup."
    ),
    tools=(),
    knowledge=(),
)
"""The account of a caller whom nobody knows, and the fallback for one that can't be read in time."""
