"""A start as plain data: what the run writes down, what the critical path is computed from, what a trace read back becomes.

The bottom of the package: imports nothing of ours but words, and nothing of OpenTelemetry or LiveKit. All instants are whole nanoseconds
since the Unix epoch, on the session's one clock: a monotonic offset on a single wall-clock reading. So none is before its cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How a start ended (`startup.outcome`)."""

    FIRST_WORD = "first_word"
    ABANDONED = "abandoned"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    NO_CALLER = "no_caller"


class Dispatch(StrEnum):
    """How the job came relative to the caller (`startup.dispatch`)."""

    JOIN = "join"
    AHEAD = "ahead"
    LATE = "late"


class TaskState(StrEnum):
    """Where a task stood when the record was made."""

    DONE = "done"
    FALLBACK = "fallback"
    """Failed or was late, and its fallback's value was used."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    RUNNING = "running"
    """Not finished at the root's end; `end` is the root's end."""


@dataclass(frozen=True, slots=True)
class LoopStep:
    """One stretch in which a task's coroutine (or one it started) held the event loop."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a start, as it ran. Only tasks whose needs were met are in a record."""

    name: str
    ready: int
    """When the last of its needs was there: the earliest instant it could have begun."""
    begin: int
    """Its first step; `begin - ready` is the event loop's delay."""
    end: int
    needs: tuple[str, ...] = ()
    """Names of the tasks it needed, in parameter order."""
    order: str | None = None
    """The task before it in declared order, where the start ran in order; an edge like a need."""
    outside: int | None = None
    """An instant from outside that it had to wait for (the caller joined, the track was subscribed to).

    Of the task that waits for the caller: the root's end where nobody had come by then; None where the caller was there
    before it began, since what it waited for was then their answer to us.
    """
    steps: tuple[LoopStep, ...] = ()
    """When it held the loop: ascending, not overlapping."""
    deferred: bool = False
    """Started only after the first word."""
    readies: bool = False
    """Readiness (a session that can hold a conversation) needs it."""
    state: TaskState = TaskState.DONE
    error_type: str | None = None
    cache: str | None = None
    """`hit` or `miss`, where it has a cache."""

    @property
    def edges(self) -> tuple[str, ...]:
        """All it had to wait for: its needs, then the order edge."""
        return self.needs if self.order is None or self.order in self.needs else (*self.needs, self.order)


@dataclass(frozen=True, slots=True)
class Phase:
    """A contiguous stretch of the start that the caller would name: connect, wait, greet."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DispatchStage:
    """A contiguous stretch of the dispatch (`firstword.telemetry.vocabulary`, "Stages of the dispatch")."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Start:
    """One start-up, whole: from the root's start to the first word (or to what prevented it), and what came after."""

    start: int
    """The root's start: the caller's joining for `join`, the job's receipt otherwise."""
    end: int
    """The root's end: the first word, or the instant the start ended without one."""
    first_step: int
    """The plan's first step: where the dispatch ends."""
    outcome: Outcome
    tasks: tuple[Task, ...]
    """In order of declaration."""
    phases: tuple[Phase, ...]
    """The plan's, contiguous, from `start` to `end`; a phase never reached is not in it.

    The first begins with the dispatch: in the trace that is a phase of its own, up to `first_step`.
    """
    last: str | None
    """The task the path is walked back from: the first word's, or the one that failed; None: chosen by the outcome's rule."""
    first_word_needs: tuple[str, ...] = ()
    """Every task that the first word needs, itself included, transitively; also those that had not begun."""
    dispatch: Dispatch = Dispatch.JOIN
    joined: int | None = None
    """When the caller joined; None when nobody came."""
    received: int | None = None
    """When the worker learnt of the job."""
    dispatch_stages: tuple[DispatchStage, ...] = ()
    """What the dispatch consisted of: contiguous, from `start` to `first_step`; empty where nobody says."""
    ready: int | None = None
    """When the session could hold a conversation; None when it never could."""
    clock_skew: float = 0.0
    """Seconds by which the server's clock was corrected so that no effect precedes its cause."""
    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    """Flag name -> variant."""
    attributes: Mapping[str, str | bool | int | float] = field(default_factory=dict[str, str | bool | int | float])
    """What the agent adds to the root."""

    def task(self, name: str) -> Task:
        """The task of that name; KeyError when the start has none."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)

    @property
    def absent(self) -> int:
        """Nanoseconds of the root in which no caller was there to wait."""
        if self.joined is None:
            return self.end - self.start
        return min(max(self.joined - self.start, 0), self.end - self.start)

    @property
    def ttfw(self) -> float | None:
        """Time to first word, in seconds: what the caller waited. None without a first word."""
        if self.outcome is not Outcome.FIRST_WORD:
            return None
        return (self.end - self.start - self.absent) / 1e9
