"""Asserts for tests on starts that were recorded: by an audit, a rehearsal, a real call. From a file of OTLP JSON
lines, or a folder.

The counterpart of `firstword.telemetry.testing` and `firstword.agent.testing`, whose starts a test runs itself.

PYTEST_DONT_REWRITE: the assertions here have messages of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from firstword.telemetry.path_assertions import in_turn
from firstword.telemetry.record import Outcome
from firstword.tuning.files import Files
from firstword.tuning.notes import ignore
from firstword.tuning.sources import Query
from firstword.tuning.start import RecordedStart, start_of


def assert_start(
    traces: Path,
    *,
    on_path: Sequence[str] = (),
    not_on_path: Sequence[str] = (),
    after_first_word: Sequence[str] = (),
    within: float | None = None,
    outcome: Outcome = Outcome.FIRST_WORD,
) -> tuple[RecordedStart, ...]:
    """Asserts the same of every start in `traces`, and returns them in order of time. There must be at least one.

    on_path, not_on_path: names that must be, or must not be, on the critical path: tasks; in an observed start,
    functions.
    after_first_word: tasks that must begin after it. within: the longest time to first word, in seconds. outcome: how
    each must have ended.
    Raises AssertionError, and SourceError where there is no such file.
    """
    found = [start_of(trace) for trace in Files(traces).traces(Query(), ignore) if trace.is_start]
    starts = tuple(sorted(found, key=lambda start: start.start_ns))
    assert starts, f"expected a start in {traces}; possible cause: the worker wrote no traces there"  # noqa: S101
    for start in starts:
        problems = [*_path_problems(start, on_path, not_on_path), *_early(start, after_first_word)]
        if start.outcome != outcome:
            problems.append(f"it ended as {start.outcome}, not as {outcome}")
        if within is not None and (start.ttfw_s is None or start.ttfw_s > within):
            problems.append(f"its first word came after {start.ttfw_s} s, not within {within:g} s")
        assert not problems, f"start {start.trace_id}: {'; '.join(problems)}"  # noqa: S101
    return starts


def _path_problems(start: RecordedStart, on_path: Sequence[str], not_on_path: Sequence[str]) -> list[str]:
    names = [piece.name for piece in start.path]
    shown = " > ".join(in_turn(names))
    problems = [f"{name} is not on its path, {shown}" for name in on_path if name not in names]
    return problems + [f"{name} is on its path, {shown}" for name in not_on_path if name in names]


def _early(start: RecordedStart, tasks: Sequence[str]) -> list[str]:
    begun = {task.name: task.start_us for task in start.tasks}
    missing = [f"task {name} did not run" for name in tasks if name not in begun]
    early = [name for name in tasks if begun.get(name, start.duration_us) < start.duration_us]
    return missing + [f"task {name} began before the first word" for name in early]
