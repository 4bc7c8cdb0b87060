"""Plays a recorded start again under changed tasks, event loop included: when would the first word have come?

Between `tuning.start` and `tuning.whatif`. Pure; whole microseconds from the root's start.

`telemetry.critical_path.resimulate` knows needs only. Here a task's own work is a waiting and a computing part
(`startup.loop_time`), and computing parts take turns on the one event loop. A trace does not say when within a task it
computed: half is taken to come before its wait (it asks), half after it (it uses the answer).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from tuning.change import BadChange, Change, Effect
from tuning.start import RecordedStart, TracedTask

TURN_US = 5_000
"""A trace does not say how long a task holds the loop at a time: after so long another one gets it."""
_ROUNDS = 5
"""Of fitting; a start in declared order needs one."""
_NOTHING = Change("", Effect.SCALED, 1.0)
_OFF_THE_CHAIN = (Effect.EARLIER, Effect.GONE, Effect.DEFERRED)


class NotPlayable(ValueError):
    """A start that can't be played: it had no first word, or its trace has lost what this needs."""


@dataclass(frozen=True, slots=True)
class Work:
    """One task as it is played."""

    name: str
    needs: tuple[str, ...]
    before: str | None
    """The task before it in declared order, where the start ran in order."""
    lag: int
    """From what it waits for to being ready for its first step, the loop's other work apart."""
    outside: int | None
    """When the caller it waited for had come."""
    waiting: int
    computing: int

    @property
    def edges(self) -> tuple[str, ...]:
        """All it waits for."""
        return self.needs if self.before is None or self.before in self.needs else (*self.needs, self.before)


@dataclass(frozen=True, slots=True)
class Model:
    """A start that can be played: fitted, so that unchanged it ends when it really did."""

    tasks: tuple[Work, ...]
    first_step: int
    last: str
    """The first word's task."""
    joined: int
    """When the caller came; 0 where that was before the start."""
    end: int
    """When the first word really came."""
    error: int
    """By how much the model alone would miss that; it misses a changed start by as much."""


def model_of(start: RecordedStart) -> Model:
    """The start, ready to be played. Raises NotPlayable."""
    tasks = [task for task in start.tasks if not task.deferred and task.start_us <= start.duration_us]
    # slack is of what the first word needs; of these nobody needs the first word's own task
    needed = [task for task in tasks if task.slack is not None]
    waited_for = {name for task in needed for name in (*task.needs, *task.order)}
    last = next((task.name for task in needed if task.name not in waited_for), None)
    if start.ttfw_s is None or last is None:
        raise NotPlayable("it had no first word, or its trace has lost spans")
    joined = max(start.duration_us - round(start.ttfw_s * 1e6), 0)
    ends = {task.name: task.start_us + task.duration_us for task in tasks}
    before = _chain(tasks, ends)
    first_step = min(task.start_us - round((task.ready_delay or 0.0) * 1e6) for task in tasks)
    works = tuple(_work(task, tasks, before.get(task.name), ends, first_step, joined) for task in tasks)
    recorded = {task.name: (task.start_us, ends[task.name]) for task in tasks}
    return _fitted(Model(works, first_step, last, joined, ends[last], 0), recorded)


def first_word(model: Model, changes: Sequence[Change] = ()) -> int:
    """When the first word would have come under these changes, µs from the root's start.

    Changes to tasks that the start hasn't are passed over. Raises BadChange for one that can't be made.
    """
    changed = _changed(model, {change.task: change for change in changes})
    return max(_play(changed)[model.last][1] - model.error, 0)


def ttfw(model: Model, changes: Sequence[Change] = ()) -> float:
    """The time to first word under these changes, in seconds. Raises BadChange."""
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
    own = task.start_us + task.duration_us - max(task.start_us, outside or 0)
    computing = min(round((task.loop_time or 0.0) * 1e6), own)
    return Work(task.name, needs, before, max(task.start_us - ready, 0), outside, own - computing, computing)


def _waited_outside(task: TracedTask, needed: Sequence[TracedTask], ready: int) -> int:
    """How long a task waited for an instant from outside: so much later could what it needs have ended, its own slack aside.

    Slack of a need is that of the task, and the task's wait, and the time from the need's end to the last need's
    (the backward pass of the critical path method), if nothing else that needs it leaves less.
    """
    own = task.slack or 0.0
    waits = [
        round((need.slack - own) * 1e6) - (ready - need.start_us - need.duration_us)
        for need in needed
        if need.slack is not None
    ]
    return min(max(waits, default=0), task.duration_us)


def _fitted(model: Model, recorded: Mapping[str, tuple[int, int]]) -> Model:
    """The model with what the loop's other work explains taken out of lags and waits, for played they come again."""
    for _ in range(_ROUNDS):
        played = _play(model)
        works = tuple(_less(work, recorded, played, model.first_step) for work in model.tasks)
        if works == model.tasks:
            break
        model = replace(model, tasks=works)
    return replace(model, error=_play(model)[model.last][1] - model.end)


def _less(
    work: Work, recorded: Mapping[str, tuple[int, int]], played: Mapping[str, tuple[int, int]], first_step: int
) -> Work:
    late = _delay(work, played, first_step) - _delay(work, recorded, first_step)
    (begin, end), (played_begin, played_end) = recorded[work.name], played[work.name]
    longer = 0 if work.outside is not None else (played_end - played_begin) - (end - begin)
    return replace(work, lag=max(work.lag - max(late, 0), 0), waiting=max(work.waiting - max(longer, 0), 0))


def _delay(work: Work, times: Mapping[str, tuple[int, int]], first_step: int) -> int:
    return times[work.name][0] - max((times[name][1] for name in work.edges), default=first_step)


# Changing it


def _changed(model: Model, changes: Mapping[str, Change]) -> Model:
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
    if effects.get(model.last) in (Effect.GONE, Effect.DEFERRED, Effect.BEFORE_JOB):
        raise BadChange(
            f"{model.last} is the first word itself; it can be shorter or earlier, not {effects[model.last]}"
        )
    for work in model.tasks:
        late = [name for name in work.needs if effects.get(name) is Effect.DEFERRED]
        if late and work.name != model.last and effects.get(work.name) not in (Effect.DEFERRED, Effect.GONE):
            raise BadChange(f"{work.name} needs {late[0]}, so both are deferred or none; add {work.name}=deferred")


def _reworked(work: Work, change: Change) -> Work:
    whole = work.waiting + work.computing
    match change.effect:
        case Effect.SCALED:
            factor = change.amount
        case Effect.SHIFTED:
            factor = max(whole + change.amount, 0) / whole if whole else 0.0
        case Effect.BEFORE_JOB:
            factor = 0.0
        case Effect.EARLIER | Effect.GONE | Effect.DEFERRED:
            factor = 1.0
    waiting, computing = round(work.waiting * factor), round(work.computing * factor)
    if change.effect is Effect.SHIFTED and not whole:
        waiting = max(round(change.amount), 0)
    lag = 0 if change.effect is Effect.EARLIER else work.lag
    return replace(work, lag=lag, waiting=waiting, computing=computing)


# Playing it


def _play(model: Model) -> dict[str, tuple[int, int]]:
    """When each task's first step and its end are. Raises NotPlayable where tasks need each other in a circle."""
    works = {work.name: work for work in model.tasks}
    missing = {work.name: sum(name in works for name in work.edges) for work in model.tasks}
    needed_by: dict[str, list[str]] = {}
    for work in model.tasks:
        for name in work.edges:
            needed_by.setdefault(name, []).append(work.name)
    begins: dict[str, int] = {}
    played: dict[str, tuple[int, int]] = {}
    loop_free = 0
    arrivals = count()
    # who asks for the loop when, how much it will still compute before its wait, and after it
    queue: list[tuple[int, int, str, int, int]] = []

    def ask(when: int, name: str, asking: int, answering: int) -> None:
        heapq.heappush(queue, (when, next(arrivals), name, asking, answering))

    for work in model.tasks:
        if not missing[work.name]:
            ask(model.first_step + work.lag, work.name, *_halves(work))
    while queue:
        asked, _, name, asking, answering = heapq.heappop(queue)
        begin = max(asked, loop_free)
        begins.setdefault(name, begin)
        loop_free = begin + min(asking or answering, TURN_US)
        if asking > TURN_US:
            ask(loop_free, name, asking - TURN_US, answering)
        elif asking:
            work = works[name]
            there = loop_free if work.outside is None else max(loop_free, work.outside)
            ask(there + work.waiting, name, 0, answering)
        elif answering > TURN_US:
            ask(loop_free, name, 0, answering - TURN_US)
        else:
            played[name] = (begins[name], loop_free)
            for dependent in needed_by.get(name, ()):
                missing[dependent] -= 1
                if not missing[dependent]:
                    work = works[dependent]
                    there = max(played[edge][1] for edge in work.edges if edge in works)
                    ask(there + work.lag, dependent, *_halves(work))
    if model.last not in played:
        raise NotPlayable("its tasks need each other in a circle")
    return played


def _halves(work: Work) -> tuple[int, int]:
    """How long it computes before its wait, and after it; at least a µs before it where it waits."""
    if work.outside is not None:
        return 1, work.computing
    if not work.waiting:
        return 0, work.computing
    return max(work.computing // 2, 1), work.computing - work.computing // 2
