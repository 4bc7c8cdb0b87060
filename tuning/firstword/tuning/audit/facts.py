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
    """Who speaks first in a session, which decides from when its seconds count."""

    GREETS = "greets"
    """The agent speaks first: seconds count from the caller's connecting."""
    ANSWERS = "answers"
    """The caller, who had heard nothing, speaks first: seconds count from the end of their speech."""


@dataclass(frozen=True, slots=True)
class AuditedSession:
    """One session of an audited agent: after how long its caller heard something, or why not, and the trace of its start."""

    heard_s: float | None
    """Seconds until the first audible frame, counted as `first_voice` says; None where nothing was heard."""
    first_voice: FirstVoice = FirstVoice.GREETS
    silence: str | None = None
    """Why nothing was heard, in plain words."""
    start: RecordedStart | None = None
    """The session's start, read back from its trace; None where it left no trace."""


@dataclass(frozen=True, slots=True)
class ImportTime:
    """How many seconds a module took to import in a fresh interpreter, with all that it imports itself."""

    module: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """Facts about an audited agent and how it was run: its file, Python, LiveKit, dispatch, providers and imports."""

    file: Path
    """The agent's file, as it was started. Lines of source in paths are relative to its folder."""
    python: str
    """Version of the Python interpreter that ran the agent."""
    livekit: str
    """Version of livekit-agents in the agent's environment."""
    dispatch: Dispatch = Dispatch.JOIN
    agent_name: str | None = None
    """The name under which the agent is dispatched; None where it has none, and every room gets it."""
    idle_processes: int | None = None
    """How many processes LiveKit keeps ready for the agent; None where that is unknown."""
    metadata: str = ""
    """The job's metadata, as the audit's dispatch gave it."""
    simulated: tuple[str, ...] = ()
    """Providers whose protocol a simulator spoke, as `LiveKit Inference LLM`."""
    real: tuple[str, ...] = ()
    """Providers that were really called, with the user's keys."""
    not_simulated: Mapping[str, str] = field(default_factory=dict[str, str])
    """Provider that was neither simulated nor called -> what to do about it, in one sentence."""
    unseen: tuple[str, ...] = ()
    """What else the run could not see, one sentence each."""
    imports: tuple[ImportTime, ...] = ()
    """Import times of the modules that the agent's file imports itself, the longest first; empty where they were not measured."""


@dataclass(frozen=True, slots=True)
class AuditRun:
    """Everything that the run of one audit hands over: facts about the agent, its sessions, and the floor's times."""

    agent: AgentFacts
    sessions: tuple[AuditedSession, ...]
    """The agent's sessions, in the order in which they were called."""
    floor_s: tuple[float | None, ...]
    """Seconds until the first audible frame of the floor's sessions in the same run; None where nothing was heard."""
