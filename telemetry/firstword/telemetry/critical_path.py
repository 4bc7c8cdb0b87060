"""Computes the exact critical path of a start: what the caller waited for, piece after piece, and what each task cost.

Stands between `firstword.telemetry.record` (how a start went) and `firstword.telemetry.layout` (its spans); `tuning`
asks the same functions about starts read back from traces. Pure: records in, records out. Instants are whole
nanoseconds.

The path is walked back over the needs that the plan declares, so nothing is inferred from times (startup-trace.md, "The
exact critical path"). Slack is the critical path method's total float: J. E. Kelley and M. R. Walker, "Critical-Path
Planning and Scheduling", Proc. Eastern Joint Computer Conference, 1959. Drag is S. A. Devaux's, "Total Project
Control", 1999.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import attrgetter

from firstword.telemetry.record import LoopStep, Outcome, Start, Task, TaskState
from firstword.telemetry.vocabulary import ABSENT_CALLER, DISPATCH, EVENT_LOOP, STAGE_PREFIX

LEAST_LOOP_DELAY = 1_000_000
"""Nanoseconds. A shorter delay by the event loop is no piece of its own; it joins the next one."""
LEAST_STAGE = 1_000_000
"""Nanoseconds. A shorter stage of the dispatch is no piece of its own; it joins the next, or as the last one the one
before.
"""


class PieceKind(StrEnum):
    """The kind of a piece of the critical path: what the caller waited for in it."""

    TASK = "task"
    DISPATCH = DISPATCH
    EVENT_LOOP = EVENT_LOOP
    ABSENT_CALLER = ABSENT_CALLER
    SPAN = "span"
    """A span of a trace that isn't ours (`firstword.telemetry.inferred_path`)."""


@dataclass(frozen=True, slots=True)
class PathPiece:
    """One stretch of the critical path, with one reason. Times are in ns."""

    kind: PieceKind
    task: str | None
    """The task's name, or the span's id if `kind` is SPAN; None if the piece belongs to no task."""
    start: int
    end: int
    held_by: str | None = None
    """For a delay by the event loop: the task that held the loop most in it; None if none did."""
    stage: str | None = None
    """For a piece of the dispatch: its stage; None if that is not known."""

    @property
    def name(self) -> str:
        """Returns what the caller waited for: the task's name, `dispatch.STAGE`, or the kind."""
        return self.task or (f"{STAGE_PREFIX}{self.stage}" if self.stage else self.kind.value)


@dataclass(frozen=True, slots=True)
class TaskAnalysis:
    """What one task cost and how much room it had, in seconds.

    Without a first word, "the first word" below is the end of the task from which the path is walked back.
    """

    critical: float
    """Time of the critical path that belongs to the task."""
    slack: float | None
    """How much later it could have ended without delaying the first word; None if the first word doesn't depend on it.
    """
    drag: float
    """How much earlier the first word would have come, had the task taken no time; 0 off the path."""
    contention: float
    """Time for which it held the event loop inside pieces of others, except those of an absent caller."""
    loop_time: float
    """Time for which it held the event loop, until its end or the root's, whichever is later."""
    ready_delay: float
    """Time from the end of its last need to its first step."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The critical path of one start, and what each of its tasks cost."""

    pieces: tuple[PathPiece, ...]
    """The critical path in time order, from the root's start to its end, without gap or overlap; none is empty."""
    figures: Mapping[str, TaskAnalysis]
    """The figures of each task, deferred ones too, by name in order of declaration."""
    critical_task: str | None
    """The task, or stage of the dispatch, with the most time on the path. On a tie a task wins, the one declared first.

    None if none is on it. `dispatch` if its stages are not known.
    """


def analyse(start: Start) -> Analysis:
    """Finds the critical path of a start, and each task's figures.

    What happens after the root's end does not change the figures of tasks that had ended by then. So an analysis made
    at the first word still holds for them when all is done. Raises ValueError if tasks need each other in a circle.
    """
    target = _walked_back_from(start)
    network = _network(start, target)
    pieces = _pieces(start, target)
    critical: dict[str, int] = {}
    stages: dict[str, int] = {}
    for piece in pieces:
        if piece.task is not None:
            critical[piece.task] = critical.get(piece.task, 0) + piece.end - piece.start
        elif piece.kind is PieceKind.DISPATCH:
            stages[piece.name] = stages.get(piece.name, 0) + piece.end - piece.start
    candidates = {**{task.name: critical[task.name] for task in start.tasks if task.name in critical}, **stages}
    slack = _slack(network, target)
    drag = _drag(network, target, critical)
    figures = {
        task.name: TaskAnalysis(
            critical=critical.get(task.name, 0) / 1e9,
            slack=slack[task.name] / 1e9 if task.name in slack else None,
            drag=drag.get(task.name, 0) / 1e9,
            contention=_contention(task, start, pieces) / 1e9,
            loop_time=_held(task.steps, 0, max(start.end, task.end)) / 1e9,
            ready_delay=(task.begin - task.ready) / 1e9,
        )
        for task in start.tasks
    }
    return Analysis(
        pieces=pieces,
        figures=figures,
        critical_task=max(candidates, key=candidates.__getitem__, default=None),
    )


def work(task: Task) -> int:
    """Returns the nanoseconds that a task worked: its duration without the wait for something outside of the plan."""
    return task.end - (task.begin if task.outside is None else max(task.begin, min(task.outside, task.end)))


def running_at_end(task: Task, start: Start) -> bool:
    """Returns whether a task was still running at the root's end. The record may have been made then or later."""
    unfinished = task.state in (TaskState.RUNNING, TaskState.CANCELLED)
    return task.end > start.end or (unfinished and task.end == start.end)


# The path


def _walked_back_from(start: Start) -> Task | None:
    """The task at whose end the path ends: the first word's, the one that failed, else what was still being done."""
    within = [task for task in start.tasks if _within(task, start)]
    for task in within:
        if task.name == start.last:
            return task
    needed = [task for task in within if task.name in start.first_word_needs]
    running = [task for task in needed if running_at_end(task, start)]
    if running:
        return min(running, key=attrgetter("begin"))
    # between two tasks: what was done last
    return max(needed, key=attrgetter("end"), default=None)


def _within(task: Task, start: Start) -> bool:
    return not task.deferred and task.begin <= start.end


def _pieces(start: Start, target: Task | None) -> tuple[PathPiece, ...]:
    tasks = {task.name: task for task in start.tasks if _within(task, start)}
    found: list[PathPiece] = []

    def add(kind: PieceKind, begin: int, end: int, task: str | None = None) -> None:
        if begin < end:
            held_by = _holder(tasks.values(), begin, end) if kind is PieceKind.EVENT_LOOP else None
            found.append(PathPiece(kind, task, begin, end, held_by))

    first_step = max(start.first_step, start.start)
    until = start.end
    came = min(first_step if target is None else max(target.end, start.start), until)
    if until - came >= LEAST_LOOP_DELAY:
        # the start ended while the next task had not had its first step
        add(PieceKind.EVENT_LOOP, came, until)
        until = came
    task = target
    while task is not None:
        last_need = _last_finished(task, tasks)
        begin = max(min(task.begin, until), start.start)
        came = min(first_step if last_need is None else max(last_need.end, start.start), begin)
        delayed = begin - came >= LEAST_LOOP_DELAY
        own = begin if delayed else came
        joined = min(max(_joined(task, start, target), own), until)
        add(PieceKind.TASK, joined, until, task.name)
        add(PieceKind.ABSENT_CALLER, own, joined)
        if delayed:
            add(PieceKind.EVENT_LOOP, came, begin)
        until, task = came, last_need
    found.extend(reversed(dispatch_pieces(start, until)))
    return tuple(reversed(found))


def dispatch_pieces(start: Start, until: int) -> list[PathPiece]:
    """Returns the pieces of the critical path in the dispatch, stage by stage in time order, from the root's start to
    `until` (ns).
    """
    if start.start >= until:
        return []
    found: list[PathPiece] = []
    begin = start.start
    for stage in start.dispatch_stages:
        if min(stage.end, until) - begin >= LEAST_STAGE:
            found.append(PathPiece(PieceKind.DISPATCH, None, begin, min(stage.end, until), stage=stage.name))
            begin = found[-1].end
    if not found:
        longest = max(start.dispatch_stages, key=lambda stage: stage.end - stage.start, default=None)
        return [PathPiece(PieceKind.DISPATCH, None, begin, until, stage=longest and longest.name)]
    found[-1] = replace(found[-1], end=until)
    return found


def _last_finished(task: Task, tasks: Mapping[str, Task]) -> Task | None:
    """Of the tasks it had to wait for, the one that finished last; on a tie the one declared first."""
    edges = task.edges
    return max((other for name, other in tasks.items() if name in edges), key=attrgetter("end"), default=None)


def _joined(task: Task, start: Start, target: Task | None) -> int:
    """Until when the task waited for a caller who wasn't there; the root's start where it didn't."""
    joined = start.end if start.joined is None else start.joined
    outside = _outside(task, start, target)
    return joined if outside is not None and outside >= joined else start.start


def _outside(task: Task, start: Start, target: Task | None) -> int | None:
    """The instant from outside that the task waited for; the root's end where it waited for a caller who never came."""
    if start.outcome is Outcome.NO_CALLER and task is target:
        return start.end
    return task.outside


def _holder(tasks: Iterable[Task], begin: int, end: int) -> str | None:
    held = {task.name: _held(task.steps, begin, end) for task in tasks}
    most = max(held, key=held.__getitem__, default=None)
    return most if most is not None and held[most] else None


def _contention(task: Task, start: Start, pieces: Iterable[PathPiece]) -> int:
    others = _held(task.steps, start.start, start.end)
    for piece in pieces:
        if piece.task == task.name or piece.kind is PieceKind.ABSENT_CALLER:
            others -= _held(task.steps, piece.start, piece.end)
    return others


def _held(steps: Sequence[LoopStep], begin: int, end: int) -> int:
    """How long steps (ascending, not overlapping) ran inside a window."""
    held = 0
    for i in range(bisect_right(steps, begin, key=attrgetter("end")), len(steps)):
        step = steps[i]
        if step.start >= end:
            break
        held += min(step.end, end) - max(step.start, begin)
    return held


# Slack and drag: the same start as a network, every task after those it needs


@dataclass(frozen=True, slots=True)
class _Node:
    name: str
    needs: tuple[int, ...]
    """Positions in the network, all before this one's."""
    lag: int
    """From the last need's end to the begin; the begin itself where it needs nothing."""
    outside: int | None
    work: int
    end: int


def _network(start: Start, target: Task | None) -> tuple[_Node, ...]:
    pending = [task for task in start.tasks if _within(task, start)]
    names = {task.name for task in pending}
    places: dict[str, int] = {}
    nodes: list[_Node] = []
    while pending:
        left: list[Task] = []
        for task in pending:
            edges = [name for name in task.edges if name in names]
            if not all(name in places for name in edges):
                left.append(task)
                continue
            needs = tuple(places[name] for name in edges)
            if task is target:
                # what a start without a first word cancelled took as long as it was let
                task = replace(task, end=min(task.end, start.end), outside=_outside(task, start, target))
            lag = task.begin - max((nodes[i].end for i in needs), default=0)
            places[task.name] = len(nodes)
            nodes.append(_Node(task.name, needs, lag, task.outside, work(task), task.end))
        if len(left) == len(pending):
            raise ValueError(f"tasks need each other in a circle: {', '.join(task.name for task in left)}")
        pending = left
    return tuple(nodes)


def _begin(node: _Node, ends: Sequence[int]) -> int:
    return max((ends[i] for i in node.needs), default=0) + node.lag


def _ends(network: Sequence[_Node], works: Sequence[int], known: Sequence[int] = ()) -> list[int]:
    """When each task ends if it works that long; `known`: the ends of the first ones, which stay."""
    ends = list(known)
    for node, length in zip(network[len(ends) :], works[len(ends) :], strict=True):
        begin = _begin(node, ends)
        ends.append((begin if node.outside is None else max(begin, node.outside)) + length)
    return ends


def _slack(network: Sequence[_Node], target: Task | None) -> dict[str, int]:
    """Nanoseconds by task, of those that the target depends on: the backward pass of the critical path method."""
    latest: dict[int, int] = {}
    for i in range(len(network) - 1, -1, -1):
        node = network[i]
        if target is not None and node.name == target.name:
            latest[i] = node.end
        if i in latest:
            for need in node.needs:
                allowed = latest[i] - node.work - node.lag
                latest[need] = min(latest.get(need, allowed), allowed)
    return {network[i].name: late - network[i].end for i, late in latest.items()}


def _drag(network: Sequence[_Node], target: Task | None, critical: Iterable[str]) -> dict[str, int]:
    """Nanoseconds by task on the path: how much earlier the target would have ended without it."""
    if target is None:
        return {}
    ends = [node.end for node in network]
    works = [node.work for node in network]
    place = {node.name: i for i, node in enumerate(network)}
    last = place[target.name]
    drags: dict[str, int] = {}
    for name in critical:
        i = place[name]
        without = [*works[:i], 0, *works[i + 1 :]]
        drags[name] = ends[last] - _ends(network, without, ends[:i])[last]
    return drags
