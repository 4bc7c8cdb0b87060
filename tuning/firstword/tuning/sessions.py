"""Finds the one session that is meant among many: by an id, the median one, the slowest one.

Between `firstword.tuning.sources` and the commands that show one session. Reads through a source once and keeps only
ids and durations; the one that is meant is then read again, whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from firstword.telemetry.vocabulary import TTFW
from firstword.tuning.notes import Note, Report, ignore
from firstword.tuning.sampling import countable, place, sampling_of
from firstword.tuning.sources import Query, TraceSource, session_ids
from firstword.tuning.spans import Trace, plausible
from firstword.tuning.wording import amount

_MOST_REMEMBERED = 5_000
_SHORTEST_PREFIX = 4
_MOST_NAMED = 3


class NoSession(LookupError):
    """Raised where the session that was asked for isn't there, or not only one is; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The trace of the session that is meant, and how it came to be chosen."""

    trace: Trace
    why: str
    weighted: bool = False
    """Whether the store was sampled, so that each session counted for as many as it stands for."""


def named(source: TraceSource, session: str, query: Query, report: Report) -> Chosen:
    """Returns the session with this trace id (or the only one that begins so), room sid or job id.

    A start goes before other traces of the same room, a declared one before the same one observed. Raises NoSession,
    SourceError.
    """
    asked = session.strip().lower()
    notes: list[Note] = []
    if _is_trace_id(asked) and (trace := source.trace(asked, notes.append)) is not None:
        for note in notes:
            report(note)
        return Chosen(trace, "the session asked for")
    found: dict[_Rank, list[str]] = {rank: [] for rank in _Rank}
    known: dict[_Rank, dict[str, None]] = {rank: {} for rank in _Rank}
    for trace in source.of_session(session.strip(), query, report):
        ids = (trace.trace_id, *sorted(session_ids(trace)))
        if len(asked) >= _SHORTEST_PREFIX and (_begins(trace, asked) or session.strip() in ids):
            found[_rank(trace)].append(trace.trace_id)
        elif len(known[_rank(trace)]) < _MOST_REMEMBERED:
            known[_rank(trace)].update(dict.fromkeys(ids))
    matches = next((ids for ids in found.values() if ids), list[str]())
    if not matches:
        raise NoSession(_nothing_like(session, next((list(ids) for ids in known.values() if ids), list[str]()), source))
    if len(matches) > 1:
        raise NoSession(f"{len(matches)} sessions are {session}: {_some(sorted(matches))}; give one trace id")
    return Chosen(_again(source, matches[0]), "the session asked for")


def median(source: TraceSource, query: Query, report: Report) -> Chosen:
    """Returns the session in the middle by time to first word; of an even number the faster of the two in the middle.

    Ranks the sessions that had a first word. Where none had one, ranks those without by duration. Where no trace is a
    start, ranks all traces by duration. In a sampled store each counts for as many as it stands for. Raises
    SourceError, and NoSession where there is no trace. report: called with each note on what was read or passed over.
    """
    ranking = _Ranking.of(source, query, report)
    ordered = ranking.ordered
    weights = [each.weight for each in ordered]
    middle = ordered[place(weights, 0.5)]
    return Chosen(_again(source, middle.trace_id), f"the median of {ranking.counted}", any(w != 1.0 for w in weights))


def slowest(source: TraceSource, query: Query, report: Report) -> Chosen:
    """Returns the session with the longest time to first word; where none had one, the longest, as `median` ranks them.
    Raises as `median`."""
    ranking = _Ranking.of(source, query, report)
    return Chosen(_again(source, ranking.ordered[-1].trace_id), f"the slowest of {ranking.counted}")


class _Rank(Enum):
    """What a session's traces are, the one that is meant by its ids first."""

    START = auto()
    SECOND = auto()
    OTHER = auto()


def _rank(trace: Trace) -> _Rank:
    return _Rank.SECOND if trace.is_second else _Rank.START if trace.is_start else _Rank.OTHER


class _Ranked(NamedTuple):
    """In the order in which they are ranked: how long it took, then its id."""

    waited: float
    trace_id: str
    weight: float


@dataclass(slots=True)
class _Ranking:
    """How long each trace waited, by its kind."""

    heard: list[_Ranked] = field(default_factory=list[_Ranked])
    unheard: list[_Ranked] = field(default_factory=list[_Ranked])
    others: list[_Ranked] = field(default_factory=list[_Ranked])

    @staticmethod
    def of(source: TraceSource, query: Query, report: Report) -> _Ranking:
        ranking = _Ranking()
        for trace in countable(source.traces(query, report), report):
            ttfw, weight = plausible(trace.root.attributes.get(TTFW)), sampling_of(trace).weight
            if trace.is_start and ttfw is not None:
                ranking.heard.append(_Ranked(ttfw, trace.trace_id, weight))
            else:
                unheard = ranking.unheard if trace.is_start else ranking.others
                unheard.append(_Ranked(trace.root.duration_us, trace.trace_id, weight))
        if not ranking.ordered:
            raise NoSession(f"no trace in {source.name}{query.narrowed}")
        return ranking

    @property
    def ordered(self) -> list[_Ranked]:
        return sorted(self.heard or self.unheard or self.others)

    @property
    def counted(self) -> str:
        if self.heard:
            without = f"; {len(self.unheard)} more had none" if self.unheard else ""
            return f"{amount(len(self.heard), 'session')} with a first word{without}"
        if self.unheard:
            return f"{amount(len(self.unheard), 'session')}, none with a first word"
        return f"{amount(len(self.others), 'trace')}; none is a start of ours"


def _again(source: TraceSource, trace_id: str) -> Trace:
    trace = source.trace(trace_id, ignore)
    if trace is None:
        raise NoSession(f"trace {trace_id} is gone from {source.name}")
    return trace


def _is_trace_id(session: str) -> bool:
    return len(session) in (16, 32) and _is_hex(session)


def _is_hex(session: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in session)


def _begins(trace: Trace, asked: str) -> bool:
    """Whether the trace's id begins so, with or without its leading zeros."""
    return _is_hex(asked) and (trace.trace_id.startswith(asked) or trace.trace_id.lstrip("0").startswith(asked))


def _nothing_like(session: str, known: Sequence[str], source: TraceSource) -> str:
    if not known:
        return f"no session {session} in {source.name}, and no other"
    near = difflib.get_close_matches(session, known, n=_MOST_NAMED, cutoff=0.6)
    if near:
        return f"no session {session} in {source.name}; nearest: {_some(near)}"
    return f"no session {session} in {source.name}; there is: {_some(known)}"


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return ", ".join(ids[:_MOST_NAMED]) + more
