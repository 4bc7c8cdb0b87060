"""Finds what else was needed on an observed path, and was there sooner than what the path waited for.

A task that goes on may have waited for two things: the path leads to the one that came last. The other was made beside
it, and so is a connection that was ready before something was asked on it. Without the path's own that would have been
waited for. So each is told of by three instants: when its causes left the path, when it was there, when it was needed.

Below `firstword.telemetry.observed_path`, which walks; pure, in ns on the record's clock.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from firstword.telemetry.loop_steps import CallerSound, Event, Origin, Step, Timer

Source = tuple[str, int]
LEAST_WORK = 5_000_000
"""Nanoseconds. What took less beside the path is not told of."""
MOST_WORKS = 8
"""Most works beside one path: the longest."""
_MOST_NEEDS = 500
_MOST_STEPS = 5_000
"""Of one way back."""


class BesideWork(NamedTuple):
    """Something that was made beside the path and needed on it, such as a connection. Times are in ns."""

    began: int
    """When its causes left the path."""
    ready: int
    needed: int
    delayed: int
    """For how much of it, in ns, it could have gone on and something else held the event loop."""

    def moved(self, by: int) -> BesideWork:
        """Returns the same work with its times moved by `by` ns, onto another clock."""
        return BesideWork(self.began + by, self.ready + by, self.needed + by, self.delayed)


class Need(NamedTuple):
    """Something that was needed on the way, as it was found: when, since when it was there, and the last step that made it."""

    needed: int
    ready: int
    step: Step
    sources: frozenset[Source] = frozenset()
    """Who brought what the path waited for. What they had brought before is of the same stream, and no other need."""


def needs_of(step: Step, woken: Sequence[Step]) -> Iterator[Need]:
    """Finds what else was needed by the tasks that an event let go on, each once it waited for that event only.

    step: the one with which the event began. woken: the tasks' steps on the path, the last one first.
    """
    sources = {_source(step, woken)}
    for each in reversed(woken):
        if each.previous is not None and each.waited_since is not None:
            yield Need(each.begin, each.waited_since, each.previous, frozenset(sources))
        sources.add(_task(each))
    if isinstance(step.detail, Event) and step.detail.ready is not None:
        yield Need(step.detail.asked, step.detail.ready.scheduled, step.detail.ready)


def beside_works(needs: Iterable[Need], passed: Collection[int], since: int) -> list[BesideWork]:
    """Returns what of all that was needed on the path was made beside it, in the order in which it was needed.

    passed: ids of the steps on the path, which made the rest. since: when the record began, ns.
    """
    found: dict[tuple[int, int], BesideWork] = {}
    others = [need for need in needs if id(need.step) not in passed and need.ready < need.needed]
    for need in others[:_MOST_NEEDS]:
        left = _left_path(need, passed, since)
        if left is not None and need.ready - left[0] >= LEAST_WORK:
            began, delayed = left
            work = found.setdefault((began, need.ready), BesideWork(began, need.ready, need.needed, delayed))
            if need.needed < work.needed:  # what was there once was there for all that came later
                found[began, need.ready] = work._replace(needed=need.needed)
    longest = sorted(found.values(), key=lambda work: work.began - work.ready)[:MOST_WORKS]
    return sorted(longest, key=lambda work: work.needed)


def _left_path(need: Need, passed: Collection[int], since: int) -> tuple[int, int] | None:
    """When the causes of what was needed left the path, and for how long the event loop delayed them since. It is the way
    back, until a step that is on the path. None where it leads to who brought what the path waited for.
    """
    step, instant, delayed = need.step, need.ready, 0
    woken, way = list[Step](), set[int]()
    for _ in range(_MOST_STEPS):
        if step is None or instant <= since:
            break
        if id(step) in passed:
            return instant, delayed
        way.add(id(step))
        instant = min(instant, step.begin)
        due = step.detail.due if isinstance(step.detail, Timer) else 0
        delayed += max(instant - max(due, step.scheduled), 0)
        if step.life is not None:
            woken.append(step)
            if _task(step) in need.sources:
                return None
        if step.origin is Origin.SOON and step.cause is not None:
            step, instant = step.cause, step.scheduled
            continue
        if _source(step, woken) in need.sources:
            return None
        step, instant = _before(step, woken, way, instant)
        woken = []
    return since, delayed


def _source(step: Step, woken: Sequence[Step]) -> Source:
    """Where an event came from: its descriptor; of one that has none, the first task that it let go on."""
    if isinstance(step.detail, Event):
        return "descriptor", step.detail.descriptor
    return "event of", id(woken[-1].life) if woken else 0


def _task(step: Step) -> Source:
    return "task", id(step.life)


def _before(step: Step, woken: Sequence[Step], way: Collection[int], instant: int) -> tuple[Step | None, int]:
    """What an event came from, and when."""
    detail, cause = step.detail, step.cause
    if cause is not None and detail is not None and not isinstance(detail, CallerSound):
        if isinstance(detail, Timer):
            return cause, step.scheduled
        return cause, detail.asked if isinstance(detail, Event) else detail.submitted
    last = let_go_on(woken, way)
    return (None, instant) if last is None or last.waited_since is None else (last.previous, last.waited_since)


def let_go_on(woken: Sequence[Step], passed: Collection[int]) -> Step | None:
    """Returns which of the tasks that an event without a cause let go on had waited last; None if of none it is known.

    That one may have begun to wait after the event came: others handed it on while the loop was busy.

    passed: ids of the steps on the way back to the event. A wait that one of them began is on the way itself.
    """
    waited = [each for each in woken if each.waited_since is not None and id(each.previous) not in passed]
    return functools.reduce(_later, waited) if waited else None


def _later(needs: Step, hands: Step) -> Step:
    """Which of two tasks' waits for one event counts: of the one that needs it, or of the one that hands it on.

    The latter's where it began later and the former led to it, as who asks for something in a task of its own. Not that of a
    pump, which goes on and waits anew after each event.
    """
    assert needs.waited_since is not None  # noqa: S101 # the caller saw to it
    assert hands.waited_since is not None  # noqa: S101
    if needs.previous is None or hands.waited_since <= needs.waited_since:
        return needs
    return hands if _led_to(needs.previous, hands.previous, through_events=hands.ended_task) else needs


def _led_to(before: Step, step: Step | None, *, through_events: bool) -> bool:
    """Whether the way back from a step passes through one before it; through_events: also where events have no cause."""
    task: Step | None = None
    while step is not None and step.begin >= before.begin:
        if step is before:
            return True
        task = step if step.life is not None else task
        if step.cause is not None:
            step = step.cause
        else:
            step, task = (task.previous if task is not None and through_events else None), None
    return False
