"""Plays a recorded start again under changed tasks, event loop included: when would the first word have come?

Between `firstword.tuning.start` and `firstword.tuning.whatif`. Pure; whole microseconds from the root's start.

`firstword.telemetry.critical_path` knows needs only. Here a task is what its trace says of it (`startup.loop_holds`): it waits,
holds the one event loop for a step, waits again. Steps take turns on the loop, first come, first served, none cut short.
What a library left running after a task (`firstword.tuning.left_running`) is played like a task, for those that use it.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from firstword.tuning.change import BadChange, Effect, TaskChange
from firstword.tuning.left_running import Use
from firstword.tuning.start import LoopHold, RecordedStart, TracedTask

_ADJOINING_US = 200
"""A step that begins so soon after another's end had to wait for it."""
_NOTHING = TaskChange("", Effect.SCALED, 1.0)
_AWAY = (Effect.GONE, Effect.DEFERRED, Effect.BEFORE_JOB)
_OFF_THE_CHAIN = (Effect.EARLIER, Effect.GONE, Effect.DEFERRED)


class NotPlayable(ValueError):
    """Raised for a start that can't be played.

    It had no first word, its trace has lost what this needs, or its tasks need each other in a circle.
    """


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of a task on the event loop, and the wait before it, in µs."""

    waiting: int
    """Time from the end of the turn before until it asks for the loop. For the first, from the end of what the task
    waits for (`Work.edges`)."""
    computing: int
    outside: int | None = None
    """When something outside of the plan, such as the caller, came that the step needs; `waiting` is counted from there then."""


@dataclass(frozen=True, slots=True)
class Work:
    """One task as it is played: what it waits for, and its turns on the event loop."""

    name: str
    needs: tuple[str, ...]
    before: str | None
    """The task before it in declared order, where the start ran in order."""
    turns: tuple[Turn, ...]
    own: int
    """Number of turns until the task ends. The others are of what it started, and go on after it."""
    left_by: str | None = None
    """For something that a library left running: the task that began it. Else None."""

    @property
    def edges(self) -> tuple[str, ...]:
        """Returns the names of all that the task waits for: its needs, and the task before it in declared order."""
        return self.needs if self.before is None or self.before in self.needs else (*self.needs, self.before)


@dataclass(frozen=True, slots=True)
class Model:
    """A start that can be played again, under changed tasks. Times are in µs from the root's start."""

    tasks: tuple[Work, ...]
    first_step: int
    """When the tasks that wait for nothing may begin."""
    last: str
    """Name of the task that speaks the first word."""
    joined: int
    """When the caller came; 0 where that was before the start."""
    error: int
    """By how much the unchanged model speaks later than the start did. Predictions are taken to be off by as much, and corrected."""


def model_of(start: RecordedStart, uses: Iterable[Use] = ()) -> Model:
    """Returns a start as a model that can be played. Raises NotPlayable.

    uses: tasks that wait for what another task left running.
    """
    tasks = [task for task in start.tasks if not task.deferred and task.start_us <= start.duration_us]
    # slack is of what the first word needs; of these nobody needs the first word's own task
    needed = [task for task in tasks if task.slack is not None]
    waited_for = {name for task in needed for name in (*task.needs, *task.order)}
    last = next((task.name for task in needed if task.name not in waited_for), None)
    if start.ttfw_s is None or last is None:
        raise NotPlayable("it had no first word, it was observed and has no plan, or its trace has lost spans")
    joined = max(start.duration_us - round(start.ttfw_s * 1e6), 0)
    ends = {task.name: task.start_us + task.duration_us for task in tasks}
    before = _chain(tasks, ends)
    first_step = min(task.start_us - round((task.ready_delay or 0.0) * 1e6) for task in tasks)
    steps = {task.name: task.steps for task in tasks}
    works = [_work(task, tasks, steps, before.get(task.name), ends, first_step, joined) for task in tasks]
    model = Model(tuple(_with_left_running(works, tasks, uses)), first_step, last, joined, 0)
    return replace(model, error=_play(model)[last] - ends[last])


def first_word(model: Model, changes: Sequence[TaskChange] = ()) -> int:
    """Plays the start under these changes. Returns when the first word would have come, in µs from the root's start.

    Changes to tasks that the start hasn't are passed over. Raises BadChange for one that can't be made.
    """
    changed = _changed(model, {change.task: change for change in changes})
    return max(_play(changed)[model.last] - model.error, 0)


def ttfw(model: Model, changes: Sequence[TaskChange] = ()) -> float:
    """Plays the start under these changes. Returns the time to first word that it would have had, in seconds. Raises BadChange."""
    return max(first_word(model, changes) - model.joined, 0) / 1e6


# From the trace to the model


def _chain(tasks: Sequence[TracedTask], ends: Mapping[str, int]) -> dict[str, str]:
    """Each task's predecessor in declared order; empty where the start did not run in order.

    A predecessor that is a need too is not told apart in a trace: of the needs it is the one that finished last.
    """
    if not any(task.order for task in tasks):
        return {}
    found: dict[str, str] = {}
    for task in tasks:
        known = [name for name in task.order or task.needs if name in ends]
        if known:
            found[task.name] = max(known, key=ends.__getitem__)
    return found


def _work(
    task: TracedTask,
    tasks: Sequence[TracedTask],
    steps: Mapping[str, Sequence[LoopHold]],
    before: str | None,
    ends: Mapping[str, int],
    first_step: int,
    joined: int,
) -> Work:
    needs = tuple(name for name in task.needs if name in ends)
    edges = needs if before is None else (*needs, before)
    ready = max((ends[name] for name in edges), default=first_step)
    outside = None
    if task.start_us < joined:
        waited = _waited_outside(task, [other for other in tasks if other.name in edges], ready)
        outside = task.start_us + waited if waited > 0 else None
    others = sorted(step for name, of in steps.items() if name != task.name for step in of)
    own_steps = _until_its_end(task, steps[task.name])
    turns: list[Turn] = []
    free = ready
    for step in own_steps:
        before_it = free
        asked = max(_asked(step.start_us, others), free)
        free = max(step.start_us + step.duration_us, free)
        if outside is not None and outside <= free:
            turns.append(Turn(max(asked - outside, 0), step.duration_us, outside))
            outside = None
        else:
            turns.append(Turn(asked - before_it, step.duration_us))
    own = sum(step.start_us <= ends[task.name] for step in own_steps)
    return Work(task.name, needs, before, tuple(turns), own)


def _until_its_end(task: TracedTask, told: Iterable[LoopHold]) -> list[LoopHold]:
    """Its steps, the first where it begins and one where it ends, without length where the trace has none."""
    begin, end = task.start_us, task.start_us + task.duration_us
    steps = [step._replace(start_us=max(step.start_us, begin)) for step in told]
    own = [step for step in steps if step.start_us <= end]
    if own:
        # it ends within a step, and the rest of that is little
        last = own[-1]
        own[-1] = last._replace(duration_us=min(last.duration_us, end - last.start_us))
    if not own or own[0].start_us > begin:
        own.insert(0, LoopHold(begin, 0))
    if own[-1].start_us + own[-1].duration_us < end:
        own.append(LoopHold(end, 0))
    return own + [step for step in steps if step.start_us > end]


def _asked(instant: int, others: Sequence[LoopHold]) -> int:
    """When a step that began at `instant` is taken to have asked for the loop: when the one that held it until then began."""
    before = bisect_left(others, LoopHold(instant, 0)) - 1
    if before < 0:
        return instant
    begin, length = others[before]
    return begin if begin + length >= instant - _ADJOINING_US else instant


def _waited_outside(task: TracedTask, needed: Sequence[TracedTask], ready: int) -> int:
    """How long a task waited for an instant from outside: so much later could what it needs have ended, its own slack aside.

    The slack of a need is a sum: the task's slack, its wait, and the time from the need's end to the last need's. This is the backward pass
    of the critical path method. Something else that needs it may leave less.
    """
    own = task.slack or 0.0
    waits = [
        round((need.slack - own) * 1e6) - (ready - need.start_us - need.duration_us)
        for need in needed
        if need.slack is not None
    ]
    return min(max(waits, default=0), task.duration_us)


def _with_left_running(works: Iterable[Work], tasks: Iterable[TracedTask], uses: Iterable[Use]) -> list[Work]:
    """The works, and what is used of what they left running as works of their own, which the users need."""
    used: dict[tuple[str, str], list[str]] = {}
    for use in uses:
        used.setdefault((use.of, use.left), []).append(use.by)
    needs: dict[str, list[str]] = {}
    left: list[Work] = []
    for task in tasks:
        end = task.start_us + task.duration_us
        for running in task.left_running:
            users = used.get((task.name, running.name), [])
            name = f"{task.name}: {running.name}"
            for user in users:
                needs.setdefault(user, []).append(name)
            if users:
                left.append(Work(name, (task.name,), None, (Turn(running.end_us - end, 0),), 1, left_by=task.name))
    return [*(replace(work, needs=(*work.needs, *needs.get(work.name, ()))) for work in works), *left]


# Changing it


def _changed(model: Model, changes: Mapping[str, TaskChange]) -> Model:
    # what a task left running shares its fate
    begun_by = {work.name: work.left_by for work in model.tasks if work.left_by is not None}
    away = {task: change for task, change in changes.items() if change.effect in _AWAY}
    changes = {**changes, **{left: away[task] for left, task in begun_by.items() if task in away}}
    effects = {work.name: changes[work.name].effect for work in model.tasks if work.name in changes}
    _check(model, effects)
    before = {work.name: work.before for work in model.tasks}
    off_the_chain = {name for name, effect in effects.items() if effect in _OFF_THE_CHAIN}
    removed = {name for name, effect in effects.items() if effect in (Effect.GONE, Effect.DEFERRED)}

    def predecessor(name: str) -> str | None:
        found = None if name in off_the_chain else before[name]
        while found is not None and found in off_the_chain:
            found = before[found]
        return found

    works = tuple(
        replace(
            _reworked(work, changes.get(work.name, _NOTHING)),
            needs=tuple(name for name in work.needs if name not in removed),
            before=predecessor(work.name),
        )
        for work in model.tasks
        if work.name not in removed
    )
    return replace(model, tasks=works)


def _check(model: Model, effects: Mapping[str, Effect]) -> None:
    if effects.get(model.last) in _AWAY:
        raise BadChange(
            f"{model.last} is the first word itself; it can be shorter or earlier, not {effects[model.last]}"
        )
    for work in model.tasks:
        late = [name for name in work.needs if effects.get(name) is Effect.DEFERRED]
        if late and work.name != model.last and effects.get(work.name) not in (Effect.DEFERRED, Effect.GONE):
            raise BadChange(f"{work.name} needs {late[0]}, so both are deferred or none; add {work.name}=deferred")


def _reworked(work: Work, change: TaskChange) -> Work:
    own = work.turns[: work.own]
    whole = sum(turn.waiting + turn.computing for turn in own) - _lag(work)
    match change.effect:
        case Effect.SCALED:
            factor = change.amount
        case Effect.SHIFTED if whole:
            factor = max(whole + change.amount, 0) / whole
        case Effect.SHIFTED:
            longer = max(round(change.amount), 0)
            last = replace(own[-1], waiting=own[-1].waiting + longer)
            return replace(work, turns=(*own[:-1], last, *work.turns[work.own :]))
        case Effect.BEFORE_JOB:
            factor = 0.0
        case Effect.EARLIER:
            first = replace(work.turns[0], waiting=work.turns[0].waiting - _lag(work))
            return replace(work, turns=(first, *work.turns[1:]))
        case Effect.GONE | Effect.DEFERRED:
            return work
    if not factor:
        outside = next((turn.outside for turn in own if turn.outside is not None), None)
        return replace(work, turns=(Turn(_lag(work), 0, outside),), own=1)
    return replace(
        work, turns=tuple(_scaled(turn, factor, _lag(work) if i == 0 else 0) for i, turn in enumerate(work.turns))
    )


def _lag(work: Work) -> int:
    """From what it waits for to asking for its first step, which is no work of its own; what was left running just goes on."""
    return work.turns[0].waiting if work.turns[0].outside is None and work.left_by is None else 0


def _scaled(turn: Turn, factor: float, lag: int) -> Turn:
    return replace(turn, waiting=lag + round((turn.waiting - lag) * factor), computing=round(turn.computing * factor))


# Playing it


def _play(model: Model) -> dict[str, int]:
    """When each task ends. Raises NotPlayable where tasks need each other in a circle."""
    works = {work.name: work for work in model.tasks}
    missing = {work.name: sum(name in works for name in work.edges) for work in model.tasks}
    needed_by: dict[str, list[str]] = {}
    for work in model.tasks:
        for name in work.edges:
            needed_by.setdefault(name, []).append(work.name)
    ends: dict[str, int] = {}
    loop_free = 0
    arrivals = count()
    # who asks for the loop when, for which of its turns
    queue: list[tuple[int, int, str, int]] = []

    def ask(free: int, work: Work, number: int) -> None:
        turn = work.turns[number]
        there = free if turn.outside is None else max(free, turn.outside)
        heapq.heappush(queue, (there + turn.waiting, next(arrivals), work.name, number))

    for work in model.tasks:
        if not missing[work.name]:
            ask(model.first_step, work, 0)
    while queue:
        asked, _, name, number = heapq.heappop(queue)
        work = works[name]
        loop_free = max(asked, loop_free) + work.turns[number].computing
        if number + 1 == work.own:
            ends[name] = loop_free
            for dependent in needed_by.get(name, ()):
                missing[dependent] -= 1
                if not missing[dependent]:
                    ask(loop_free, works[dependent], 0)
        if number + 1 < len(work.turns):
            ask(loop_free, work, number + 1)
    if model.last not in ends:
        raise NotPlayable("its tasks need each other in a circle")
    return ends
