"""Data classes that store, cache, greeting and assistant share: an account, its last session, a session's row.

Bottom of the package: imports nothing of ours. No repr of these shows a field, as all of it is the caller's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, repr=False)
class GreetingFields:
    """The fields of an account that the greeting needs. They are read first."""

    id: str
    name: str
    language: str
    """BCP 47: `en`, `de-AT`."""
    time_zone: str
    """IANA: `Europe/Berlin`."""
    voice: str
    """Name of the TTS voice; empty for the one in the settings."""
    greeting: str
    """Template with `{name}` and `{salutation}`: see `firstword.agent.greeting.text`."""


@dataclass(frozen=True, slots=True, repr=False)
class Account(GreetingFields):
    """A whole account: the greeting's fields, plus instructions, tools and knowledge of the assistant."""

    instructions: str
    """Instructions for the LLM."""
    tools: tuple[str, ...]
    """Names of the tools that the assistant may call."""
    knowledge: tuple[str, ...]
    """Texts in which the assistant can look things up."""


@dataclass(frozen=True, slots=True, repr=False)
class LastSession:
    """What the account's last session was about, from which its next one resumes."""

    ended: float
    """Unix time, seconds."""
    summary: str
    left_open: str
    """What was not settled; empty when nothing was left."""


@dataclass(frozen=True, slots=True, repr=False)
class SessionRow:
    """One session's row in the store, for analytics. Written when it has started, and again under the same id when it
    has ended.
    """

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
