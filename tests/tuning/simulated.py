"""Starts simulated step by step on one event loop: the truth that `firstword.tuning.replay` has to predict, and knows nothing of.

A task is a list of stretches: it holds the loop for so long, then waits for so long. The loop is first come, first
served, and no step is cut short.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from firstword.telemetry.record import Dispatch, LoopStep, Outcome, Phase, Start, Task
from tests.tuning.written import T0

FIRST_WORD = "playout"


@dataclass(frozen=True)
class Script:
    """A task before it runs; ns."""

    name: str
    needs: tuple[str, ...]
    stretches: tuple[tuple[int, int], ...]
    """Computes, then waits."""
    for_caller: bool = False
    """Waits for the caller first."""
    deferred: bool = False
    in_order: bool = True
    """In declared order, where the start runs in order at all."""

    def timed(self, factor: float) -> Script:
        """The same, so many times as long."""
        return replace(self, stretches=tuple((round(c * factor), round(w * factor)) for c, w in self.stretches))

    @property
    def work(self) -> int:
        """ns of its own."""
        return sum(computes + waits for computes, waits in self.stretches)


def ms(*stretches: tuple[float, float]) -> tuple[tuple[int, int], ...]:
    """Stretches given in milliseconds."""
    return tuple((round(computes * 1e6), round(waits * 1e6)) for computes, waits in stretches)


def simulate(scripts: Sequence[Script], *, in_order: bool, dispatch: int = 0, joined: int = 0) -> Start:
    """The record of the start that runs these; the first word's task is among them. `dispatch` and `joined`: ns."""
    running = [script for script in scripts if not script.deferred]
    names = [script.name for script in running]
    chain = [script.name for script in running if script.in_order] if in_order else []
    order = dict(zip(chain[1:], chain, strict=False))
    edges = {s.name: {*(n for n in s.needs if n in names), *filter(None, [order.get(s.name)])} for s in running}
    by_name = {script.name: script for script in running}
    ready = {name: dispatch for name, needed in edges.items() if not needed}
    begins: dict[str, int] = {}
    ends: dict[str, int] = {}
    steps: dict[str, list[LoopStep]] = {name: [] for name in names}
    queue = [(dispatch, i, name, 0) for i, name in enumerate(ready)]
    heapq.heapify(queue)
    asked, free = len(queue), 0
    while queue:
        when, _, name, part = heapq.heappop(queue)
        script = by_name[name]
        free = max(when, free)
        begins.setdefault(name, free)
        if script.for_caller and not part and free < joined:
            asked += 1
            heapq.heappush(queue, (joined, asked, name, part))
            continue
        if part < len(script.stretches):
            computes, waits = script.stretches[part]
            if computes:
                steps[name].append(LoopStep(T0 + free, T0 + free + computes))
            free += computes
            asked += 1
            heapq.heappush(queue, (free + waits, asked, name, part + 1))
            continue
        ends[name] = free
        for other in names:
            if name in edges[other] and other not in ready and edges[other] <= ends.keys():
                ready[other] = free
                asked += 1
                heapq.heappush(queue, (free, asked, other, 0))
    end = ends[FIRST_WORD]
    tasks = tuple(
        Task(
            name=script.name,
            ready=T0 + ready[script.name],
            begin=T0 + begins[script.name],
            end=T0 + ends[script.name],
            needs=tuple(need for need in script.needs if need in names),
            order=order.get(script.name),
            outside=T0 + joined if script.for_caller else None,
            steps=tuple(step for step in steps[script.name] if step.start < T0 + end),
        )
        for script in running
        if begins[script.name] < end
    )
    return Start(
        start=T0,
        end=T0 + end,
        first_step=T0 + dispatch,
        outcome=Outcome.FIRST_WORD,
        tasks=tasks,
        phases=(Phase("connect", T0, T0 + end),),
        last=FIRST_WORD,
        first_word_needs=_needed(FIRST_WORD, edges),
        dispatch=Dispatch.AHEAD if joined else Dispatch.JOIN,
        joined=T0 + joined,
        received=T0,
        flags={"parallel-init": "off" if in_order else "on"},
    )


def _needed(name: str, edges: Mapping[str, set[str]]) -> tuple[str, ...]:
    found, pending = set[str](), [name]
    while pending:
        task = pending.pop()
        if task not in found:
            found.add(task)
            pending.extend(edges[task])
    return tuple(found)


def agent(chance: random.Random) -> tuple[Script, ...]:
    """The scripts of one session of an agent like ours: what computes, what waits, and how long varies."""

    def about(*stretches: tuple[float, float]) -> tuple[tuple[int, int], ...]:
        return ms(*((c * chance.lognormvariate(0, 0.2), w * chance.lognormvariate(0, 0.3)) for c, w in stretches))

    return (
        Script("room", (), about((4, 70), (4, 10), (1, 0))),
        Script("caller", ("room",), about((0.3, 0)), for_caller=True),
        Script("identity", ("caller",), about((0.2, 0))),
        Script("account", ("identity",), about((6, 120), (3, 30), (2, 0))),
        Script("config", (), about((3, 0))),
        Script("components", ("config", "account"), about((25, 0), (15, 0))),
        Script("assistant", ("account",), about((2, 0))),
        Script("room_options", ("config",), about((12, 0))),
        Script(
            "session", ("caller", "components", "assistant", "room_options"), about((20, 5), (30, 10), (40, 1), (10, 0))
        ),
        Script("event_handlers", ("session",), about((2, 0))),
        Script("background_audio", ("room", "session"), about((10, 5), (2, 0))),
        Script("resumption", ("account", "assistant"), about((2, 230), (3, 0))),
        Script("analytics", ("account",), about((2, 100), (3, 0))),
        Script("metrics", (), about((8, 0), (5, 0))),
        Script("greeting", ("account", "components"), about((1, 0))),
        Script(
            FIRST_WORD,
            ("caller", "greeting", "session", "background_audio", "resumption", "analytics"),
            about((4, 180), (3, 0)),
        ),
    )


Rewrite = Callable[[Script], Script | None]


def rewritten(scripts: Sequence[Script], task: Rewrite) -> tuple[Script, ...]:
    """The scripts with each as `task` has it; None: without it, and nobody needs it."""
    kept = [new for script in scripts if (new := task(script)) is not None]
    names = {script.name for script in kept if not script.deferred}
    return tuple(replace(script, needs=tuple(need for need in script.needs if need in names)) for script in kept)
