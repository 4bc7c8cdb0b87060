"""What the tuner decides on: the starts of a source since the last move, and what each flag should save.

Between `firstword.command.observed`, which reads, and `firstword.command.tuner.decision`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from firstword.command.observed import Observed, observe
from firstword.command.source_options import Reading
from firstword.tuning.change import BadChange, read_changes
from firstword.tuning.files import Files
from firstword.tuning.notes import ignore
from firstword.tuning.observation import Observation
from firstword.tuning.whatif import NothingToPlay, predict

WHOLE_EVERY_S = 1800.0
"""Seconds after which all is read again, though nothing would move."""
OVERLAP_S = 900.0
"""Seconds that are read again at each look: sessions come late, and their traces grow after the first word."""
_FOR_PREDICTIONS = 300
"""Newest starts that are played again under what each flag says it would change."""


class RolloutEvidence(Protocol):
    """A source of starts to decide on."""

    @property
    def name(self) -> str:
        """Returns the name of the source."""
        ...

    def starts(self, since: float, *, whole: bool) -> Observed:
        """Returns the starts since then, in seconds since the Unix epoch; 0: all. Raises SourceError, OSError.

        whole: all of them are read now. Else some may be as an earlier look has read them.
        """
        ...

    def predicted(self, told: Mapping[str, str]) -> Mapping[str, float]:
        """Returns flag -> seconds of the median time to first word that it should save, of the flags in `told`.

        told: flag -> the changes it says it makes.
        """
        ...


@dataclass(slots=True)
class _Kept:
    """What a service has read of a source."""

    since: float
    whole: Observed
    """As all was read the last time."""
    whole_at: float
    read_at: float
    """When all was read, and when anything was, in seconds since the Unix epoch."""
    starts: dict[str, Observation]
    """Trace id -> start."""

    def with_later(self, later: Observed) -> Observed:
        """Returns all that is known, with what was read now. A start that was read before is as it is now."""
        self.starts.update(zip(later.ids, later.starts, strict=True))
        return Observed(
            list(self.starts.values()),
            max(self.whole.traces, len(self.starts)),
            self.whole.problems + later.problems,
            self.whole.whole_files + later.whole_files,
            self.whole.capped or later.capped,
            list(self.starts),
        )


@dataclass(slots=True)
class TracesEvidence:
    """The evidence of a source of traces."""

    reading: Reading
    watching: bool = False
    """Whether a service reads it each minute: then nothing is printed of it, and what was read need not be read again."""
    clock: Callable[[], float] = time.time
    """Seconds since the Unix epoch."""
    _kept: _Kept | None = None

    @property
    def name(self) -> str:
        """Returns the name of the source."""
        return self.reading.source.name

    def starts(self, since: float, *, whole: bool) -> Observed:
        """Reads the starts since then, in seconds since the Unix epoch. Raises SourceError, OSError.

        whole: all of them. Else, where a service reads a Jaeger, those of the last minutes, beside what it knows.
        """
        now, kept = self.clock(), self._kept
        if whole or kept is None or kept.since != since or now - kept.whole_at >= WHOLE_EVERY_S:
            found = self._read(since)
            # of files a part is read no sooner than all
            if self.watching and not isinstance(self.reading.source, Files):
                starts = dict(zip(found.ids, found.starts, strict=True))
                self._kept = _Kept(since, found, now, now, starts)
            return found
        later = self._read(max(since, kept.read_at - OVERLAP_S))
        kept.read_at = now
        return kept.with_later(later)

    def _read(self, since: float) -> Observed:
        query = self.reading.query
        query = replace(query, since_ns=max(int(since * 1e9), query.since_ns or 0) or None)
        return observe(replace(self.reading, query=query), quiet=self.watching)

    def predicted(self, told: Mapping[str, str]) -> Mapping[str, float]:
        """Plays the newest starts again under what each flag says it changes."""
        query = replace(self.reading.query, limit=_FOR_PREDICTIONS)
        recent = list(islice(replace(self.reading, query=query).traces(ignore), _FOR_PREDICTIONS))
        saved: dict[str, float] = {}
        for flag, changes in told.items():
            if not changes:
                continue
            try:
                median = predict(recent, read_changes(changes.split()), flag=flag).forecasts[0]
            except (NothingToPlay, BadChange):
                continue  # every start has it on already, or none has such a task
            if math.isfinite(median.now) and math.isfinite(median.predicted):
                saved[flag] = median.now - median.predicted
        return saved
