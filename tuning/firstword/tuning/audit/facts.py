"""What an audit's runs hand over: each session as its caller lived it, and what is known of the agent and its run.

First in the data path of `firstword.tuning.audit`. Who runs agents (`firstword.rehearsal`) fills it in; nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from firstword.telemetry.record import Dispatch
from firstword.tuning.start import RecordedStart


class FirstVoice(StrEnum):
    """Who speaks first, and so from when the seconds of a session count."""

    GREETS = "greets"
    """The agent: from the caller's connecting."""
    ANSWERS = "answers"
    """The caller, who had heard nothing: from the end of their speech."""


@dataclass(frozen=True, slots=True)
class AuditedSession:
    """One session of the agent, as its caller lived it."""

    heard_s: float | None
    """Seconds until the first audible frame, counted as `first_voice` says; None where nothing was heard."""
    first_voice: FirstVoice = FirstVoice.GREETS
    silence: str | None = None
    """Why nothing was heard, in plain words."""
    start: RecordedStart | None = None
    """Its start, read back; None where it left no trace."""


@dataclass(frozen=True, slots=True)
class ImportTime:
    """How long a module took to import, with what it imports itself, in a fresh interpreter."""

    module: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What is known of the agent and of how it was run."""

    file: Path
    """Of the agent, as it was started. The lines of paths are relative to its folder."""
    python: str
    """Version of the interpreter that ran it."""
    livekit: str
    """Version of livekit-agents there."""
    dispatch: Dispatch = Dispatch.JOIN
    agent_name: str | None = None
    """None where the agent has none, and each room gets it."""
    idle_processes: int | None = None
    """How many processes LiveKit keeps ready for it; None where that is unknown."""
    metadata: str = ""
    """The job's, as the audit's dispatch gave it."""
    simulated: tuple[str, ...] = ()
    """Providers whose protocol a simulator spoke, as `LiveKit Inference LLM`."""
    real: tuple[str, ...] = ()
    """Providers that were called, with the user's keys."""
    not_simulated: Mapping[str, str] = field(default_factory=dict[str, str])
    """Provider that was neither -> what to do about it, in one sentence."""
    unseen: tuple[str, ...] = ()
    """What else the run could not see, a sentence each."""
    imports: tuple[ImportTime, ...] = ()
    """Of what the agent's file imports itself, the longest first; empty where it was not measured."""
    connecting_s: float | None = None
    """Median seconds that a simulated provider takes to accept a connection; None where providers are real."""


@dataclass(frozen=True, slots=True)
class AuditRun:
    """All that one audit has run."""

    agent: AgentFacts
    sessions: tuple[AuditedSession, ...]
    """In the order in which they were called."""
    floor_s: tuple[float | None, ...]
    """Seconds until the first audible frame of the floor's sessions in the same run; None where nothing was heard."""
