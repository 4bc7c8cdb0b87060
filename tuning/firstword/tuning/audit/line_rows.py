"""Where a path went, by line of the agent's source: the rows that the page and the terminal show.

After `firstword.tuning.chain`, in the order of time.
"""

from __future__ import annotations

from dataclasses import dataclass

from firstword.telemetry.vocabulary import EVENT_LOOP
from firstword.tuning.chain import ChainEntry, KindTime, chain_of
from firstword.tuning.dispatch import NOTABLE_US, explanation
from firstword.tuning.source_text import SourceText
from firstword.tuning.start import RecordedStart
from firstword.tuning.svg import duration
from firstword.tuning.wording import amount, short_name

_SHORTEST = 0.01
"""Of the whole; what is shorter is one row."""
_MOST_KINDS = 3


@dataclass(frozen=True, slots=True)
class LineRow:
    """One row of a start's path: a line of source, a stage of the dispatch, or another wait."""

    name: str
    """`my_agent.py:44 entrypoint`; for a wait without a line of source, its name."""
    text: str | None
    """The line as it stands in the file; None where there is none, or it can't be shown."""
    told: str
    """What the time was spent on, in words."""
    start_us: int
    duration_us: int
    share: float
    """Share of the whole start, 0 to 1."""


def line_rows(start: RecordedStart, source: SourceText) -> list[LineRow]:
    """Returns the rows of a start's path in time order; they add up to the start. Waits below 1 % of it become one last row."""
    whole = max(start.duration_us, 1)
    rows: list[LineRow] = []
    short: list[int] = []
    for entry in reversed(chain_of(start)):
        if entry.duration_us < _SHORTEST * whole:
            short.append(entry.duration_us)
            continue
        rows.append(
            LineRow(
                name=str(entry.source or entry.name),
                text=None if entry.source is None else source.of(entry.source),
                told=_told(entry),
                start_us=entry.start_us,
                duration_us=entry.duration_us,
                share=entry.duration_us / whole,
            )
        )
    if short:
        told = f"{amount(len(short), 'wait')} shorter than {_SHORTEST:.0%} of it"
        rows.append(LineRow("shorter ones", None, told, whole - sum(short), sum(short), sum(short) / whole))
    return rows


def _told(entry: ChainEntry) -> str:
    if not entry.kinds:
        return (explanation(entry.name, entry.duration_us) or "") if entry.duration_us >= NOTABLE_US else ""
    parts = [
        _kind(kind) + (f" {duration(kind.duration_us)}" if len(entry.kinds) > 1 else "")
        for kind in entry.kinds[:_MOST_KINDS]
    ]
    rest = sum(kind.duration_us for kind in entry.kinds[_MOST_KINDS:])
    return ", ".join([*parts, *([f"others {duration(rest)}"] if rest else [])])


def _kind(kind: KindTime) -> str:
    if kind.kind == EVENT_LOOP:
        return f"event loop held by {short_name(kind.held_by)}" if kind.held_by else "event loop busy"
    return f"{kind.kind} in {short_name(kind.inside)}" if kind.inside else kind.kind
