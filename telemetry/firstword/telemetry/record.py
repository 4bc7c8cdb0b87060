"""A start as plain data: the run writes it, the critical path is computed from it, and a trace that is read back
becomes it.

The bottom of the package: imports nothing of ours but words, and nothing of OpenTelemetry or LiveKit. All instants are
whole nanoseconds since the Unix epoch, on the session's one clock: a monotonic offset on a single wall-clock reading.
So none is before its cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """The ways in which a start can end (`startup.outcome`)."""

    FIRST_WORD = "first_word"
    ABANDONED = "abandoned"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    NO_CALLER = "no_caller"


class Dispatch(StrEnum):
    """How job and caller met (`startup.dispatch`): the job came with the caller, before them, or long after."""

    JOIN = "join"
    AHEAD = "ahead"
    LATE = "late"


class TaskState(StrEnum):
    """The state of a task when the record was made."""

    DONE = "done"
    FALLBACK = "fallback"
    """It failed or was late, and its fallback's value was used."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    RUNNING = "running"
    """Not finished when the record was made. `end` is the root's end, or for a deferred task that instant."""


@dataclass(frozen=True, slots=True)
class LoopStep:
    """One stretch of time, in ns, in which a task's coroutine (or one it started) held the event loop."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a start, as it ran. A record has only tasks whose needs were met."""

    name: str
    ready: int
    """When its last need had ended: the earliest instant it could have begun."""
    begin: int
    """When its first step began; `begin - ready` is the event loop's delay."""
    end: int
    needs: tuple[str, ...] = ()
    """Names of the tasks it needed, in parameter order."""
    order: str | None = None
    """The task before it in declared order, if the start ran in order; an edge like a need."""
    outside: int | None = None
    """When something outside of the plan happened that it had to wait for (the caller joined, the track was subscribed
    to).

    For the task that waits for the caller it is the root's end if nobody had come by then. It is None if the caller was
    there before the task began, since it then waited for their answer to us.
    """
    steps: tuple[LoopStep, ...] = ()
    """When it held the loop: ascending, not overlapping."""
    deferred: bool = False
    """Whether it started only after the first word."""
    readies: bool = False
    """Whether a session can hold a conversation only after it."""
    state: TaskState = TaskState.DONE
    error_type: str | None = None
    cache: str | None = None
    """`hit` or `miss`, if it has a cache."""

    @property
    def edges(self) -> tuple[str, ...]:
        """Returns the names of all tasks it had to wait for: its needs, then the task before it if the start ran in
        order.
        """
        return self.needs if self.order is None or self.order in self.needs else (*self.needs, self.order)


@dataclass(frozen=True, slots=True)
class Phase:
    """A contiguous stretch of the start that the caller would name: connect, wait, greet. Times are in ns."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DispatchStage:
    """A contiguous stretch of the dispatch (`firstword.telemetry.vocabulary`, "Stages of the dispatch"). Times are in
    ns.
    """

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Start:
    """One start as data: from the root's start to the first word (or to what prevented it), and what came after."""

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
    """The plan's phases, contiguous, from `start` to `end`, without those that were never reached.

    The first begins with the dispatch: in the trace that is a phase of its own, up to `first_step`.
    """
    last: str | None
    """The task from which the path is walked back: the first word's, or the one that failed. None: the analysis chooses
    one.
    """
    first_word_needs: tuple[str, ...] = ()
    """Every task that the first word needs, directly or not, and itself; also those that had not begun."""
    dispatch: Dispatch = Dispatch.JOIN
    joined: int | None = None
    """When the caller joined; None if nobody came."""
    received: int | None = None
    """When the worker learnt of the job."""
    dispatch_stages: tuple[DispatchStage, ...] = ()
    """The stages of the dispatch: contiguous, from `start` to `first_step`. Empty if they are not known."""
    ready: int | None = None
    """When the session could hold a conversation; None if it never could."""
    clock_skew: float = 0.0
    """Seconds by which the server's clock was corrected so that no effect precedes its cause."""
    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    """Flag name -> variant."""
    attributes: Mapping[str, str | bool | int | float] = field(default_factory=dict[str, str | bool | int | float])
    """Attributes that the agent adds to the root span."""

    def task(self, name: str) -> Task:
        """Returns the task of that name. Raises KeyError if the start has none."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)

    @property
    def absent(self) -> int:
        """Returns the nanoseconds of the start in which there was no caller to wait."""
        if self.joined is None:
            return self.end - self.start
        return min(max(self.joined - self.start, 0), self.end - self.start)

    @property
    def ttfw(self) -> float | None:
        """Returns the time to first word, in seconds: how long the caller waited. None without a first word."""
        if self.outcome is not Outcome.FIRST_WORD:
            return None
        return (self.end - self.start - self.absent) / 1e9
