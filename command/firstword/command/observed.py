"""Reads all starts of a source as observations, with which `compare`, `tune`, `check`, `save` and `diff` begin.

Between `firstword.command.source_options` and the statistics of `tuning`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from firstword.command.reading_report import ReadingReport
from firstword.command.source_options import Reading, say_weighted
from firstword.command.terminal import fail, tell
from firstword.tuning.files import Files
from firstword.tuning.observation import Observation, observation
from firstword.tuning.sources import SourceError
from firstword.tuning.start import method_of_all
from firstword.tuning.wording import amount

Json = dict[str, object]

_MOST = 100_000
"""Traces of Jaeger, without --limit; of files all are read."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The starts of a source in which a caller was there, and how much could not be read."""

    starts: list[Observation]
    traces: int
    problems: int
    """Number of pieces that could not be read."""
    whole_files: int
    """How many of these are files and answers of which nothing could be used."""
    capped: int | None = None
    """How many traces were read at most, where there may be more than these; else None."""
    ids: Sequence[str] = ()
    """Trace id of each of `starts`, in their order."""

    @property
    def weighted(self) -> bool:
        """Returns whether the store was sampled, so that each start counts for as many as it stands for."""
        return any(start.sampling.weight != 1.0 for start in self.starts)

    @property
    def method(self) -> str | None:
        """Returns how the paths were found: `exact`, `observed`, `guessed` or `mixed`; None for no start."""
        return method_of_all(start.method for start in self.starts)

    @property
    def reliable(self) -> bool:
        """Returns whether hardly anything was lost: at most one problem for a hundred traces, and no whole file."""
        return not self.whole_files and self.problems * 100 <= self.traces


def observe(read: Reading, *, quiet: bool = False) -> Observed:
    """Reads all starts of a source as observations. Prints on standard error what was read, unless quiet. Raises SourceError, OSError."""
    starts: list[Observation] = []
    ids: list[str] = []
    # Jaeger's default is the newest thousand; a window that slides would break what the intervals promise
    whole = read
    if read.query.limit is None and not isinstance(read.source, Files):
        whole = replace(read, query=replace(read.query, limit=_MOST))
    with ReadingReport(read.query, quiet=quiet) as account:
        for trace in whole.traces(account.report):
            if (seen := observation(trace)) is not None:
                starts.append(seen)
                ids.append(trace.trace_id)
    most = whole.query.limit
    capped = most if most is not None and account.traces >= most else None
    return Observed(starts, account.traces, account.problems, account.whole_files, capped, ids)


def observed(read: Reading, *, as_json: bool) -> Observed:
    """Prints where the traces are from and reads them, as `observe` does. Ends the command where there is no start to count."""
    tell(f"Traces: {read.source.name}", err=as_json)
    try:
        found = observe(read)
    except (SourceError, OSError) as error:
        fail(str(error))
    if not found.traces:
        fail(f"no trace in {read.source.name}")
    if not found.starts:
        fail(f"no start of ours with a caller among {amount(found.traces, 'trace')} in {read.source.name}")
    say_weighted(found.weighted, as_json=as_json)
    return found


def number(value: float) -> float | None:
    """Returns the number for JSON; None for infinity and NaN, which JSON does not have."""
    return value if math.isfinite(value) else None
