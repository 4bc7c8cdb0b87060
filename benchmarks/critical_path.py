"""How long the critical path takes to find: of a start of 20 tasks (paid once a session), of a stranger's 10,000 spans.

    python -m benchmarks.critical_path

Prints the median and the worst of each in milliseconds; the limits are 1 ms (analysis and layout: 2 ms) and 100 ms.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

from firstword.telemetry.critical_path import analyse
from firstword.telemetry.inferred_path import TimedSpan, last_finishing_path
from firstword.telemetry.layout import lay_out
from firstword.telemetry.record import LoopStep, Outcome, Phase, Start, Task

MS = 1_000_000


def start_of(tasks: int, steps: int, *, in_order: bool) -> Start:
    """A start of so many tasks, each with so many steps: in order one long chain, otherwise a lattice three wide."""
    made: list[Task] = []
    for i in range(tasks):
        needs = [j for j in (i - 3, i - 4) if j >= 0 and not in_order]
        before = [i - 1] if in_order and i else needs
        begin = max((made[j].end for j in before), default=10 * MS) + MS // 2
        end = begin + (20 + i % 7) * MS
        gap = (end - begin) // steps
        made.append(
            Task(
                name=f"task{i}",
                ready=begin - MS // 2,
                begin=begin,
                end=end,
                needs=tuple(made[j].name for j in needs),
                order=made[i - 1].name if in_order and i else None,
                steps=tuple(LoopStep(begin + k * gap, begin + k * gap + gap // 3) for k in range(steps)),
            )
        )
    last = made[-1]
    return Start(
        start=0,
        end=last.end,
        first_step=10 * MS,
        outcome=Outcome.FIRST_WORD,
        tasks=tuple(task for task in made if task.begin <= last.end),
        phases=(Phase("connect", 0, made[3].end), Phase("greet", made[3].end, last.end)),
        last=last.name,
        first_word_needs=tuple(task.name for task in made),
        joined=0,
        received=0,
    )


def foreign_trace(spans: int) -> list[TimedSpan]:
    """A random tree of spans, as a stranger's trace might be."""
    chance = random.Random(1)
    made = [TimedSpan("0", None, "root", "server", 0, 10_000_000)]
    for i in range(1, spans):
        parent = made[chance.randrange(min(i, 200))]
        begin = chance.randrange(parent.start_us, max(parent.end_us, parent.start_us + 1))
        made.append(TimedSpan(str(i), parent.span_id, "span", "internal", begin, begin + chance.randrange(1, 20_000)))
    return made


def measure(what: str, times: int, function: Callable[[], object]) -> None:
    """Print how long one call takes."""
    taken: list[float] = []
    for _ in range(times):
        begun = time.perf_counter()
        function()
        taken.append((time.perf_counter() - begun) * 1000)
    print(f"{what:48} median {statistics.median(taken):8.3f} ms   worst {max(taken):8.3f} ms")


def main() -> None:
    """Measure all of it."""
    for shape in (False, True):
        start = start_of(20, 20, in_order=shape)
        name = "20 tasks, 400 steps, " + ("in order" if shape else "concurrent")
        measure(f"analyse: {name}", 300, lambda start=start: analyse(start))
        analysis = analyse(start)
        measure(f"lay out: {name}", 300, lambda start=start, a=analysis: lay_out(start, a))
    for count in (10_000, 100_000):
        spans = foreign_trace(count)
        measure(f"last finishing child: {count:,} spans", 5, lambda spans=spans: last_finishing_path(spans))


if __name__ == "__main__":
    main()
