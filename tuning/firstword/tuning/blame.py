"""Who makes callers wait, over many starts: each task's drag, contention and time on the critical path, added up.

After `firstword.tuning.costs`, for `firstword blame`; what `systemd-analyze blame` is to a boot. Streamed:
of a start only its figures are kept, some hundred bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import fsum

from firstword.tuning.costs import Among, Cause, Costs, Kind, TaskCost
from firstword.tuning.start import Method
from firstword.tuning.statistics import quantile, sample
from firstword.tuning.wording import amount


@dataclass(frozen=True, slots=True)
class TaskQuantiles:
    """Three quantiles of a time, in seconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True)
class BlameRow:
    """One cause of waiting with its figures over all starts. Seconds are means over all starts, also over those without the cause."""

    cause: Cause
    starts: int
    """How many starts have the cause."""
    drag: float | None
    """Mean drag in seconds; None for a cause that isn't a task."""
    contention: float | None
    """Mean contention in seconds; None for a cause that isn't a task."""
    path: float
    """Mean seconds on the critical path."""
    critical: float
    """Share of the starts in which it was on the critical path, 0 to 1."""
    duration: TaskQuantiles
    """How long the task took in the starts that have it; for a cause that isn't a task, its time on the path."""
    loop_time: float | None
    """Mean seconds for which the task held the event loop; None for a cause that isn't a task."""
    hits: float
    misses: float
    """Weighted number of misses of the task's cache, as `hits` of hits; both 0 where it has no cache."""


@dataclass(frozen=True, slots=True)
class Blame:
    """What the starts of a source waited for: one row for each cause, the most costly first."""

    among: Among
    starts: int
    """How many starts the figures are made of."""
    left_out: Mapping[Among, int]
    """How many other traces were read, by their kind."""
    no_caller: int
    """How many starts were left out because nobody came."""
    weighted: bool
    """Whether the store was sampled, so that each start counts for as many as it stands for."""
    waited: TaskQuantiles
    """Time to first word; for traces without one, how long they took."""
    rows: tuple[BlameRow, ...]
    """The greatest drag first; a cause that isn't a task is ranked by its time on the path."""
    folded: Mapping[tuple[str, Cause], float]
    """Phase and cause -> weighted µs on the path, all starts together."""
    methods: frozenset[Method]
    """How the paths were found."""


class NothingToBlame(LookupError):
    """Raised where there is no trace, or no start in which somebody waited; the message says which."""


def blame(starts: Iterable[Costs]) -> Blame:
    """Adds up the costs of all starts by cause. Raises NothingToBlame, and what `starts` raises.

    Only one kind of trace is used: starts with a first word. Where there is none, it uses starts without one, else
    other traces.
    """
    tallies = {among: _Tally() for among in Among}
    no_caller = 0
    for start in starts:
        if start.among is None:
            no_caller += 1
        else:
            tallies[start.among].add(start)
    for among, tally in tallies.items():
        if tally.starts:
            left_out = {other: tallies[other].starts for other in Among if other is not among}
            return tally.answer(among, left_out, no_caller)
    raise NothingToBlame(f"{amount(no_caller, 'start')}, and nobody came" if no_caller else "no trace")


def _figures() -> array[float]:
    return array("d")


@dataclass(slots=True)
class _Sums:
    """One cause so far; what is to be added up is kept, weighted, so that the sum is exact in whatever order starts come."""

    durations: array[float] = field(default_factory=_figures)
    weights: array[float] = field(default_factory=_figures)
    drag: array[float] = field(default_factory=_figures)
    contention: array[float] = field(default_factory=_figures)
    loop_time: array[float] = field(default_factory=_figures)
    path: array[float] = field(default_factory=_figures)
    critical: array[float] = field(default_factory=_figures)
    hits: array[float] = field(default_factory=_figures)
    misses: array[float] = field(default_factory=_figures)

    def add_duration(self, seconds: float, weight: float) -> None:
        self.durations.append(seconds)
        self.weights.append(weight)

    def add_task(self, task: TaskCost, weight: float) -> None:
        self.add_duration(task.duration, weight)
        if task.drag:
            self.drag.append(weight * task.drag)
        if task.contention:
            self.contention.append(weight * task.contention)
        if task.loop_time:
            self.loop_time.append(weight * task.loop_time)
        if task.cache == "hit":
            self.hits.append(weight)
        elif task.cache == "miss":
            self.misses.append(weight)


@dataclass(slots=True)
class _Tally:
    """All starts of one kind so far."""

    starts: int = 0
    weighted: bool = False
    tasks: dict[str, _Sums] = field(default_factory=dict[str, _Sums])
    others: dict[Cause, _Sums] = field(default_factory=dict[Cause, _Sums])
    whole: _Sums = field(default_factory=_Sums)
    folded: dict[tuple[str, Cause], float] = field(default_factory=dict[tuple[str, Cause], float])
    methods: set[Method] = field(default_factory=set[Method])

    def add(self, start: Costs) -> None:
        weight = start.weight
        self.starts += 1
        self.weighted |= weight != 1.0
        self.methods.add(start.method)
        self.whole.add_duration(start.waited, weight)
        for task in start.tasks:
            sums = self.tasks.get(task.name)
            if sums is None:
                sums = self.tasks[task.name] = _Sums()
            sums.add_task(task, weight)
        totals: dict[Cause, int] = {}
        for cause, phase, us in start.path:
            totals[cause] = totals.get(cause, 0) + us
            self.folded[phase, cause] = self.folded.get((phase, cause), 0.0) + weight * us
        for cause, us in totals.items():
            sums = self._of(cause)
            sums.path.append(weight * us / 1e6)
            sums.critical.append(weight)
            if cause.kind is not Kind.TASK:
                sums.add_duration(us / 1e6, weight)

    def answer(self, among: Among, left_out: Mapping[Among, int], no_caller: int) -> Blame:
        causes = {**{Cause(Kind.TASK, name): sums for name, sums in self.tasks.items()}, **self.others}
        whole = fsum(self.whole.weights)
        rows = [_row(cause, sums, whole) for cause, sums in causes.items()]
        rows.sort(
            key=lambda row: (
                -(row.path if row.drag is None else row.drag),
                -row.path,
                -(row.contention or 0.0),
                str(row.cause),
            )
        )
        return Blame(
            among=among,
            starts=self.starts,
            left_out=left_out,
            no_caller=no_caller,
            weighted=self.weighted,
            waited=_quantiles(self.whole),
            rows=tuple(rows),
            folded=self.folded,
            methods=frozenset(self.methods),
        )

    def _of(self, cause: Cause) -> _Sums:
        if cause.kind is Kind.TASK:
            return self.tasks.setdefault(cause.name, _Sums())
        return self.others.setdefault(cause, _Sums())


def _row(cause: Cause, sums: _Sums, whole: float) -> BlameRow:
    """whole: the weight of all starts."""
    task = cause.kind is Kind.TASK
    return BlameRow(
        cause=cause,
        starts=len(sums.durations),
        drag=fsum(sums.drag) / whole if task else None,
        contention=fsum(sums.contention) / whole if task else None,
        path=fsum(sums.path) / whole,
        critical=fsum(sums.critical) / whole,
        duration=_quantiles(sums),
        loop_time=fsum(sums.loop_time) / whole if task else None,
        hits=fsum(sums.hits),
        misses=fsum(sums.misses),
    )


def _quantiles(sums: _Sums) -> TaskQuantiles:
    of = sample(sums.durations, weights=sums.weights)
    return TaskQuantiles(quantile(of, 0.5), quantile(of, 0.9), quantile(of, 0.99))
