"""The plan of a start: tasks are async functions, what a task needs are its parameters' names.

First in the way of the data: declared once at import, checked there in each shape the flags can give it,
then run by `firstword.telemetry.run`. The same declaration gives the concurrency, the links between spans and the critical path.

    plan = Plan("session.startup", given=("job",))

    @plan.task(closes=CONNECT)
    async def room(job: JobContext) -> rtc.Room: ...

    @plan.first_word
    async def playout(room: rtc.Room) -> None: ...

    plan.check()
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from firstword.telemetry.vocabulary import CONNECT, GREET, WAIT

TaskFunction = Callable[..., Awaitable[Any]]
F = TypeVar("F", bound=TaskFunction)

MOST_FLAGS = 10
"""Most flags that may change one plan: each doubles the shapes that `Plan.check` builds."""

ERROR = "error"
"""Name of the parameter of a fallback that takes the task's exception."""


class PlanError(Exception):
    """Raised for a plan that cannot be run. The message names the task and what to change."""


@dataclass(frozen=True)
class When:
    """A condition on a session: all these flags are on (`negated`: at least one is off).

    A flag is any fact about the session that has a name, an improvement or what its job's metadata says.
    """

    flags: tuple[str, ...]
    negated: bool = False

    def holds(self, flags: Mapping[str, bool]) -> bool:
        """Returns whether the flags (name -> on) meet the condition. A flag that isn't named counts as off."""
        return all(flags.get(name, False) for name in self.flags) is not self.negated

    def __str__(self) -> str:
        text = " and ".join(self.flags) or "always"
        return f"not {text}" if self.negated else text


ALWAYS = When(())


def when(first: str, *others: str) -> When:
    """Returns the condition that all these flags are on."""
    return When((first, *others))


def unless(first: str, *others: str) -> When:
    """Returns the condition that at least one of these flags is off."""
    return When((first, *others), negated=True)


@dataclass(frozen=True)
class Declared:
    """One task as it was declared, for every shape of the plan."""

    name: str
    function: TaskFunction
    parameters: tuple[str, ...]
    optional: frozenset[str]
    """Parameters with a default: needs that a shape may not have."""
    closes: str | None
    readies: bool
    deferred: When | None
    only: When | None
    fallback: Callable[..., Any] | None
    fallback_parameters: tuple[str, ...]
    deadline: float | None


@dataclass(frozen=True)
class Node:
    """One task in a shape of the plan: what it waits for, and which values it is called with."""

    name: str
    function: TaskFunction
    needs: tuple[str, ...]
    """Tasks it waits for: those of its parameters. The first word also needs every task that could have been deferred
    and is not.
    """
    passed: tuple[str, ...]
    """Parameters with which it is called. The others are not in this shape and keep their default."""
    order: str | None
    closes: str | None
    readies: bool
    deferred: bool
    fallback: Callable[..., Any] | None
    fallback_parameters: tuple[str, ...]
    deadline: float | None

    @property
    def edges(self) -> frozenset[str]:
        """Returns every task that must have ended before this one starts."""
        return frozenset(self.needs) | ({self.order} if self.order else frozenset[str]())


@dataclass(frozen=True)
class Shape:
    """The plan for one session under its flags: the tasks that run, and what each waits for."""

    name: str
    nodes: tuple[Node, ...]
    first_word: str
    phases: tuple[str, ...]
    given: frozenset[str]
    in_order: bool

    def needs_of(self, name: str) -> frozenset[str]:
        """Returns the names of all tasks that `name` needs, directly or not, and itself."""
        by_name = {node.name: node for node in self.nodes}
        found: set[str] = set()
        pending = [name]
        while pending:
            current = pending.pop()
            if current not in found:
                found.add(current)
                pending.extend(by_name[current].edges)
        return frozenset(found)


@dataclass
class Plan:
    """The plan of a start: tasks declared by decorator. Call `check()` at the end of the module, and `shape()` for each
    session.

    `name` is the root span's. `given` are names of values that the run is given; any task may have them as parameters.
    `phases` are the stretches of the start, in order: a task closes each, and the first word the last.
    """

    name: str
    given: tuple[str, ...] = ()
    phases: tuple[str, ...] = (CONNECT, WAIT, GREET)
    _tasks: dict[str, Declared] = field(default_factory=dict[str, Declared], init=False)
    _first_word: str | None = field(default=None, init=False)

    def task(
        self,
        *,
        closes: str | None = None,
        readies: bool = False,
        deferred: When | bool = False,
        only: When | None = None,
        fallback: Callable[..., Any] | None = None,
        deadline: float | None = None,
    ) -> Callable[[F], F]:
        """Returns a decorator that declares an async function as a task. The names of its parameters are what it needs.

        closes: the phase that ends when the task does. readies: a session cannot hold a conversation before it is done.
        deferred: it starts only after the first word: always (True), while flags are on, or when it needs such a task.
        Otherwise the first word needs it like any other. only: it exists only while flags are on; who needs it gives
        its parameter a default. fallback: called when the task fails or is late (parameters: `error`, anything given,
        or what the task itself needs); its value is used instead. Without one the task is required: its failure ends
        the start. deadline: seconds from the task's begin; the run may override it.
        """

        def declare(function: F) -> F:
            condition = (ALWAYS if deferred else None) if isinstance(deferred, bool) else deferred
            self._declare(function, closes, readies, condition, only, fallback, deadline)
            return function

        return declare

    def copy(self) -> Plan:
        """Returns another plan with the same tasks, to which more can be added."""
        copied = Plan(self.name, self.given, self.phases)
        copied._tasks, copied._first_word = dict(self._tasks), self._first_word
        return copied

    def first_word(self, function: F) -> F:
        """Declares the task that returns at the first audible frame. It closes the last phase. Raises PlanError if
        there is one already.
        """
        if self._first_word is not None:
            raise PlanError(f"{self.name}: {function.__name__} and {self._first_word} are both declared the first word")
        self._first_word = self._declare(function, self.phases[-1], False, None, None, None, None)
        return function

    def _declare(
        self,
        function: TaskFunction,
        closes: str | None,
        readies: bool,
        deferred: When | None,
        only: When | None,
        fallback: Callable[..., Any] | None,
        deadline: float | None,
    ) -> str:
        name = function.__name__
        if name in self._tasks:
            raise PlanError(f"{self.name}: two tasks are named {name}")
        if name in self.given:
            raise PlanError(f"{self.name}: task {name} has the name of a given value")
        if not inspect.iscoroutinefunction(function):
            raise PlanError(f"{self.name}: task {name} is not an async function")
        if deadline is not None and deadline <= 0:
            raise PlanError(f"{self.name}: the deadline of {name} is {deadline} s; it must be above 0")
        signature = inspect.signature(function).parameters.values()
        self._tasks[name] = Declared(
            name=name,
            function=function,
            parameters=tuple(p.name for p in signature),
            optional=frozenset(p.name for p in signature if p.default is not p.empty),
            closes=closes,
            readies=readies,
            deferred=deferred,
            only=only,
            fallback=fallback,
            fallback_parameters=tuple(inspect.signature(fallback).parameters) if fallback else (),
            deadline=deadline,
        )
        return name

    @property
    def flags(self) -> tuple[str, ...]:
        """Returns the flags that change the plan's shape, in order of their first mention."""
        conditions = (c for t in self._tasks.values() for c in (t.deferred, t.only) if c is not None)
        return tuple(dict.fromkeys(name for condition in conditions for name in condition.flags))

    def check(self) -> None:
        """Raises PlanError unless every shape that the flags can give the plan can be run.

        Each flag doubles the number of shapes, so a plan may have `MOST_FLAGS` flags: then 1024 shapes are checked.
        """
        if len(self.flags) > MOST_FLAGS:
            raise PlanError(f"{self.name}: {len(self.flags)} flags change the plan; expected at most {MOST_FLAGS}")
        self._check_declaration()
        for states in itertools.product((False, True), repeat=len(self.flags)):
            self._check_shape(self.shape(dict(zip(self.flags, states, strict=True))))

    def shape(self, flags: Mapping[str, bool], *, in_order: bool = False) -> Shape:
        """Returns the plan's shape for a session with these flags (name -> on). in_order: tasks run one after the
        other, as declared.
        """
        first_word = self._the_first_word()
        present = [t for t in self._tasks.values() if t.only is None or t.only.holds(flags)]
        late = self._deferred(present, flags)
        early = [t.name for t in present if t.name not in late]
        names = {t.name for t in present}
        nodes: list[Node] = []
        for task in present:
            needs = [p for p in task.parameters if p in names and not (p in late and task.name not in late)]
            passed = tuple(p for p in task.parameters if p in self.given or p in needs)
            if task.name == first_word:
                needs += [t.name for t in present if t.deferred and t.name not in late and t.name not in needs]
            before = early.index(task.name) - 1 if in_order and task.name not in late else -1
            nodes.append(
                Node(
                    name=task.name,
                    function=task.function,
                    needs=tuple(needs),
                    passed=passed,
                    order=early[before] if before >= 0 else None,
                    closes=task.closes,
                    readies=task.readies,
                    deferred=task.name in late,
                    fallback=task.fallback,
                    fallback_parameters=task.fallback_parameters,
                    deadline=task.deadline,
                )
            )
        return Shape(self.name, tuple(nodes), first_word, self.phases, frozenset(self.given), in_order)

    @staticmethod
    def _deferred(present: Iterable[Declared], flags: Mapping[str, bool]) -> set[str]:
        """Tasks whose condition holds, and those that can be deferred and need one of them."""
        late: set[str] = set()
        for task in present:
            needs_late = any(need in late and need not in task.optional for need in task.parameters)
            if task.deferred is not None and (needs_late or task.deferred.holds(flags)):
                late.add(task.name)
        return late

    def to_mermaid(self) -> str:
        """Returns the plan as a Mermaid flowchart: arrows from need to task, dashed to deferred tasks, phases at the
        tasks that close them.
        """
        lines = ["flowchart LR"]
        for task in self._tasks.values():
            label = f"{task.name}<br/><i>closes {task.closes}</i>" if task.closes else task.name
            lines.append(f'  {task.name}["{label}"]')
            if task.deferred is not None:
                when = "after" if task.deferred == ALWAYS else f"after, if {task.deferred}"
                lines.append(f"  {self._first_word} -. {when} .-> {task.name}")
            lines += [f"  {need} --> {task.name}" for need in task.parameters if need in self._tasks]
        return "\n".join(lines) + "\n"

    def _the_first_word(self) -> str:
        if self._first_word is None:
            raise PlanError(f"{self.name}: no task is declared the first word (@plan.first_word)")
        return self._first_word

    def _check_declaration(self) -> None:
        known = {*self.given, *self._tasks}
        for task in self._tasks.values():
            self._all_known(task.name, task.parameters, known)
            self._all_known(
                f"the fallback of {task.name}", task.fallback_parameters, {*self.given, *task.parameters, ERROR}
            )
            if task.closes is not None and task.closes not in self.phases:
                raise PlanError(
                    f"{self.name}: {task.name} closes {task.closes}, which is no phase ({', '.join(self.phases)})"
                )
        self._check_cycles()
        declared = list(self._tasks)
        for task in self._tasks.values():
            for need in task.parameters:
                if need in self._tasks and declared.index(need) > declared.index(task.name):
                    raise PlanError(
                        f"{self.name}: {task.name} needs {need}, which is declared after it; in declared order it could never start"
                    )
        first_word = self._the_first_word()
        for name in declared[declared.index(first_word) + 1 :]:
            if self._tasks[name].deferred != ALWAYS:
                raise PlanError(
                    f"{self.name}: {name} is declared after the first word, {first_word}, so it must be deferred"
                )

    def _all_known(self, who: str, parameters: Iterable[str], known: set[str]) -> None:
        for parameter in parameters:
            if parameter not in known:
                raise PlanError(
                    f"{self.name}: {who} needs {parameter}, which is neither a task nor given ({', '.join(sorted(known))})"
                )

    def _check_cycles(self) -> None:
        done: set[str] = set()

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                cycle = " -> ".join((*path[path.index(name) :], name))
                raise PlanError(f"{self.name}: tasks need each other in a circle: {cycle}")
            if name not in done:
                for need in self._tasks[name].parameters:
                    if need in self._tasks:
                        visit(need, (*path, name))
                done.add(name)

        for name in self._tasks:
            visit(name, ())

    def _check_shape(self, shape: Shape) -> None:
        present = {node.name: node for node in shape.nodes}
        for node in shape.nodes:
            declared = self._tasks[node.name]
            for need in declared.parameters:
                if need in self._tasks and need not in node.needs and need not in declared.optional:
                    why = (
                        "deferred until after the first word"
                        if need in present
                        else f"there only with {self._tasks[need].only}"
                    )
                    raise PlanError(
                        f"{self.name}: {node.name} needs {need}, which is {why}; give the parameter a default or defer {node.name} too"
                    )
        needed = shape.needs_of(shape.first_word)
        closers = [self._closer(shape, phase) for phase in shape.phases]
        for phase, closer in zip(shape.phases, closers, strict=True):
            if closer not in needed:
                raise PlanError(f"{self.name}: phase {phase} is closed by {closer}, which the first word does not need")
        for earlier, later in itertools.pairwise(closers):
            if earlier not in shape.needs_of(later):
                raise PlanError(f"{self.name}: {later} closes the phase after {earlier}'s, so it must need {earlier}")

    def _closer(self, shape: Shape, phase: str) -> str:
        closers = [node.name for node in shape.nodes if node.closes == phase]
        if len(closers) != 1:
            who = f"both {closers[0]} and {closers[1]}" if closers else "no task"
            raise PlanError(f"{self.name}: phase {phase} is closed by {who}; it must be exactly one")
        return closers[0]
