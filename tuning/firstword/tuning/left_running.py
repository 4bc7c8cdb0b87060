"""What a task left running in the background, and who used it later: a connection that the first word finds made.

Between `firstword.tuning.start` and `firstword.tuning.replay`. A trace does not record which task uses a connection that a library opened
in the background. We assume that a task uses it if it needs the task that opened it, and begins after it was ready. We drop the assumption
when such tasks took no longer where it was not ready yet.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import NamedTuple

from firstword.tuning.start import RecordedStart


class Use(NamedTuple):
    """One assumption: task `by` waits for what task `of` left running in the background."""

    by: str
    of: str
    left: str
    """What was left running, by `LeftRunning.name`."""


def uses_in(starts: Iterable[RecordedStart]) -> frozenset[Use]:
    """Infers from starts of one plan which tasks use a connection that another task left opening.

    A task may have begun before the connection was ready. Then it waited, and took its usual time from then on; or it
    did not wait, and took its usual time in all. The one that fits better decides. If no start shows this, we assume
    that the task uses the connection.
    """
    usual: dict[Use, list[int]] = {}
    met: dict[Use, list[tuple[int, int]]] = {}
    for start in starts:
        tasks = {task.name: task for task in start.tasks if not task.deferred}
        for by in tasks.values():
            for of in (tasks[name] for name in by.needs if name in tasks):
                for name, end in of.left_running:
                    use = Use(by.name, of.name, name)
                    if end <= by.start_us:
                        usual.setdefault(use, []).append(by.duration_us)
                    else:
                        met.setdefault(use, []).append((by.duration_us, end - by.start_us))
    return frozenset(use for use, times in usual.items() if _waited(times, met.get(use, ())))


def _waited(usual: list[int], met: Iterable[tuple[int, int]]) -> bool:
    """usual: durations, us; met: duration and how much of it passed before the other had ended, us."""
    pairs = list(met)
    if not pairs:
        return True
    middle = statistics.median(usual)
    waited = statistics.median(duration - overlap for duration, overlap in pairs)
    at_once = statistics.median(duration for duration, _ in pairs)
    return abs(waited - middle) < abs(at_once - middle)
