"""What the tuner did and why: a bounded list of entries, JSON a line, the oldest of which goes first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, cast

from firstword.tuning.rollout import Action, RolloutStep

MOST_ENTRIES = 500
"""Number of entries that are kept."""
_LONGEST = 400
"""Characters of a reason."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Something that the tuner did, or began to hold for."""

    time: str
    """In ISO 8601, UTC."""
    action: str
    """`start`, `ramp`, `turn_back`, `trial`, `set`, `all_off`, `pause`, `resume`, `hold` or `works`."""
    reason: str
    flag: str | None = None
    percent: int | None = None
    """The flag's share before, in percent."""
    to: int | None = None
    applied: bool = True
    """False for what a dry run would have done."""

    @property
    def what(self) -> str:
        """Returns all but time and reason in words, as `parallel-init: ramp from 5 to 25 %`."""
        doing = self.action.replace("_", " ") if self.applied else f"would {self.action.replace('_', ' ')}"
        moved = "" if self.to is None else f" from {self.percent} to {self.to} %"
        return f"{self.flag}: {doing}{moved}" if self.flag else doing


def entry(
    now: float,
    action: str,
    reason: str,
    *,
    flag: str | None = None,
    shares: tuple[int, int] | None = None,
    applied: bool = True,
) -> HistoryEntry:
    """Returns an entry. now: seconds since the Unix epoch. shares: the flag's share before and after, in percent."""
    time = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    before, after = shares or (None, None)
    return HistoryEntry(time, action, reason[:_LONGEST], flag, before, after, applied)


def step_entry(now: float, step: RolloutStep, *, applied: bool = True) -> HistoryEntry:
    """Returns the entry of a step of the rollout. now: seconds since the Unix epoch."""
    shares = step.percent, step.to
    return entry(now, word_of(step.action), step.reason, flag=step.flag, shares=shares, applied=applied)


def word_of(action: Action) -> str:
    """Returns a step's action as history and metrics have it: `turn_back`."""
    return action.value.replace(" ", "_")


def as_text(entries: Sequence[HistoryEntry]) -> str:
    """Returns the newest `MOST_ENTRIES` entries, one a line."""
    return "".join(json.dumps(asdict(each)) + "\n" for each in entries[-MOST_ENTRIES:])


def from_text(text: str) -> list[HistoryEntry]:
    """Returns the entries of such a text. Lines that are none are passed over."""
    return [entry for line in text.splitlines() for entry in _read(line)]


def _read(line: str) -> Iterable[HistoryEntry]:
    names = {each.name for each in fields(HistoryEntry)}
    try:
        found = cast("dict[str, Any]", json.loads(line))
        datetime.fromisoformat(found["time"])
        yield HistoryEntry(**{name: value for name, value in found.items() if name in names})
    except (ValueError, TypeError, KeyError, RecursionError):
        return
