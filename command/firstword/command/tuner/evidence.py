"""What the tuner decides on: the starts of a source since the last move, and what each flag should save.

Between `firstword.command.observed`, which reads, and `firstword.command.tuner.decision`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from firstword.command.observed import Observed, observe
from firstword.command.source_options import Reading
from firstword.tuning.change import BadChange, read_changes
from firstword.tuning.notes import ignore
from firstword.tuning.whatif import NothingToPlay, predict

_FOR_PREDICTIONS = 300
"""Newest starts that are played again under what each flag says it would change."""


class RolloutEvidence(Protocol):
    """A source of starts to decide on."""

    @property
    def name(self) -> str:
        """Returns the name of the source."""
        ...

    def starts(self, since: float) -> Observed:
        """Returns the starts since then, in seconds since the Unix epoch; 0: all. Raises SourceError, OSError."""
        ...

    def predicted(self, told: Mapping[str, str]) -> Mapping[str, float]:
        """Returns flag -> seconds of the median time to first word that it should save, of the flags in `told`.

        told: flag -> the changes it says it makes.
        """
        ...


@dataclass(frozen=True, slots=True)
class TracesEvidence:
    """The evidence of a source of traces."""

    reading: Reading
    quiet: bool = False
    """Whether nothing is printed of what is read, as a service reads it each minute."""

    @property
    def name(self) -> str:
        """Returns the name of the source."""
        return self.reading.source.name

    def starts(self, since: float) -> Observed:
        """Reads the starts since then, in seconds since the Unix epoch. Raises SourceError, OSError."""
        query = self.reading.query
        query = replace(query, since_ns=max(int(since * 1e9), query.since_ns or 0) or None)
        return observe(replace(self.reading, query=query), quiet=self.quiet)

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
