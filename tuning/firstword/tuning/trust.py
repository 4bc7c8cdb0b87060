"""Whether what a source says can be trusted enough to ramp a flag on it. If not, why: the tuner then holds.

Between `firstword.tuning.observation` and the service that `firstword tune --watch` is. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from firstword.tuning.observation import Observation
from firstword.tuning.wording import amount

AHEAD_S = 60.0
"""Seconds by which clocks may differ."""
SILENT_S = 86_400.0
"""Seconds without any session after which older ones are not trusted any more."""
_FORGOTTEN = 0.01
_MISCOUNTED = 0.2
_MISCOUNTED_STARTS = 20


class Holding(StrEnum):
    """Why the tuner ramps nothing: the values of `reason` of `firstword.tuner.holding`."""

    SOURCE = "source"
    """The source of traces can't be read."""
    LOST = "lost"
    """Part of the traces could not be read."""
    CAPPED = "capped"
    """The source may have more traces than are read."""
    SILENT = "silent"
    """There was no session for a day."""
    CLOCK = "clock"
    """Clocks differ."""
    SHRUNK = "shrunk"
    """The source has lost sessions that it had before."""
    COUNTS = "counts"
    """Workers counted another number of starts than the source has, or can't be asked."""
    FLAGS = "flags"
    """The flags can't be read or written."""
    PAUSED = "paused"
    TRIAL = "trial"
    """The tuner is being tried on a flag that changes nothing."""
    TRIAL_FAILED = "trial_failed"
    STANDBY = "standby"
    """Another tuner works."""
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason to hold, and what was found."""

    holding: Holding
    words: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a source has found."""

    starts: Sequence[Observation]
    """Since the last move."""
    reliable: bool
    """Whether hardly any trace was lost on the way."""
    capped: int | None
    """How many traces were read at most, where there may be more; else None."""
    moved: float
    """When any flag last moved, in seconds since the Unix epoch; 0 where none did."""


def unread(*, reliable: bool, capped: int | None) -> Doubt | None:
    """Returns a doubt where part of the source was not read: all that one look by itself can know. Parameters as in `Seen`."""
    if not reliable:
        return Doubt(Holding.LOST, "part of the traces could not be read")
    if capped is not None:
        cause = "--limit, or too many sessions since the last move"
        return Doubt(
            Holding.CAPPED, f"the newest {capped:,} traces were read, and there may be more; possible cause: {cause}"
        )
    return None


def doubt(seen: Seen, now: float, most: int) -> Doubt | None:
    """Returns why not to ramp on what was seen; None where nothing speaks against it.

    now: seconds since the Unix epoch. most: the largest number of starts seen at an earlier look since the same move.
    """
    newest = max((o.time for o in seen.starts), default=seen.moved)
    if newest > now + AHEAD_S:
        ahead = f"{newest - now:,.0f} s ahead of this clock"
        what = "the newest session is" if seen.starts else "the last move is"
        return Doubt(Holding.CLOCK, f"{what} {ahead}; expected clocks that agree within {AHEAD_S:.0f} s")
    if (part := unread(reliable=seen.reliable, capped=seen.capped)) is not None:
        return part
    if seen.moved and len(seen.starts) < most * (1 - _FORGOTTEN):
        had = f"{amount(len(seen.starts), 'session')} since the last move, where there were {most:,}"
        return Doubt(Holding.SHRUNK, f"{had}; possible cause: the store deletes its oldest traces")
    if newest < now - SILENT_S:
        return Doubt(Holding.SILENT, "no session for a day; possible cause: no traces arrive")
    return None


def miscounted(starts: Sequence[Observation], counted: float) -> Doubt | None:
    """Returns a doubt where workers counted another number of starts than the source has.

    counted: by the workers' metrics, in the time that `starts` are of. A sampled start counts for as many as it stands for.
    """
    known = sum(o.sampling.weight for o in starts)
    if abs(known - counted) <= max(_MISCOUNTED_STARTS, _MISCOUNTED * max(counted, known)):
        return None
    cause = "forged traces" if known > counted else "a store that is full, or traces lost on the way"
    found = f"the source has {known:,.0f} starts, and workers counted {counted:,.0f}"
    return Doubt(Holding.COUNTS, f"{found}; possible cause: {cause}")
