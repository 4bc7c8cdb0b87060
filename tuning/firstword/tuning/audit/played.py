"""An observed start as a chain that can be played again: what would the caller have waited, had a part of it been otherwise?

Between `firstword.tuning.start` and the rules of `firstword.tuning.audit`. It is played by `firstword.tuning.replay`.

An observed path has no plan. So it becomes one: each piece needs the one before it. A wait is a wait; computing, and a delay by the event
loop, hold the loop. Played unchanged, the chain takes what the start took, but for the microsecond between pieces. A change takes pieces out
of it, or lets a stretch for one line run beside others. Who then ends last decides, and on the loop who came first, as in the start itself.
What was made beside the path and needed on it (`MadeBeside`) is played: it is still waited for. Anything else that ran beside the path is not
in the trace. A change that uncovers such work saves less than is said here. docs/opportunities.md says where that can be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby

from firstword.telemetry import vocabulary as words
from firstword.tuning.audit.statements import AgentSource, Statement
from firstword.tuning.replay import Model, Turn, Work, ttfw
from firstword.tuning.start import MadeBeside, Piece, RecordedStart

_BORDER_US = 5
"""Pieces are a microsecond apart in a trace, and what is told beside them is rounded by itself."""


@dataclass(frozen=True, slots=True)
class LineStretch:
    """Consecutive pieces of a path that belong to one statement of the outermost function."""

    pieces: tuple[Piece, ...]
    statement: Statement | None
    """A statement of the entrypoint, or of another function that the library called; None where the source does not say."""

    @property
    def duration_us(self) -> int:
        """Returns the sum of its pieces' durations, in µs."""
        return sum(piece.duration_us for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class ObservedChain:
    """One observed start with a first word, as a chain of stretches that can be played again."""

    start: RecordedStart
    source: AgentSource
    dispatch: tuple[Piece, ...]
    stretches: tuple[LineStretch, ...]

    @property
    def all_pieces(self) -> tuple[Piece, ...]:
        """Returns the pieces after the dispatch, in time order."""
        return tuple(piece for stretch in self.stretches for piece in stretch.pieces)

    def pieces(self, which: Callable[[Piece], bool]) -> tuple[Piece, ...]:
        """Returns those of `all_pieces` for which `which` is true."""
        return tuple(filter(which, self.all_pieces))

    def calls(self, piece: Piece, *ends: str) -> bool:
        """Returns whether the statement at a piece's line calls one of these names (`Statement.calls_any`)."""
        statement = self.source.statement(piece.source)
        return statement is not None and statement.calls_any(*ends)

    def played_s(self) -> float:
        """Plays the chain unchanged. Returns the seconds that the caller waited for the first word."""
        return self.without(())

    def without(self, gone: Collection[Piece]) -> float:
        """Returns the seconds that the caller would have waited, had these pieces taken no time."""
        ids = {piece.span_id for piece in gone}
        sooner_us = sum(piece.duration_us for piece in self.dispatch if piece.span_id in ids)
        return self._ttfw(self._works(ids, tuple(gone)), sooner_us)

    def beside(
        self, moved: int, after: int | None, until: int, *, in_a_thread: bool = False, gone: Collection[Piece] = ()
    ) -> float:
        """Returns the seconds that the caller would have waited, had the stretch with index `moved` run beside those
        around it.

        after: index of the stretch that it needs; None for none. until: index of the first stretch behind it that needs
        it.
        in_a_thread: whether it runs in a thread, so that what it computes does not hold the loop. gone: pieces of other
        stretches that took no time.
        """
        borders = [0, *accumulate(len(stretch.pieces) for stretch in self.stretches)]
        before = None if after is None else borders[after + 1] - 1
        first, end = borders[moved], borders[moved + 1]
        return self._beside(first, end, before, borders[until], in_a_thread=in_a_thread, gone=gone)

    def ahead(self, moved: Sequence[Piece]) -> float:
        """Returns the seconds that the caller would have waited, had these pieces run at the begin, beside those before
        them. They follow each other, and what is behind them needs them; the last piece of all is none of them.
        """
        first = self.all_pieces.index(moved[0])
        return self._beside(first, first + len(moved), None, first + len(moved))

    def _beside(
        self,
        first: int,
        end: int,
        before: int | None,
        until: int,
        *,
        in_a_thread: bool = False,
        gone: Collection[Piece] = (),
    ) -> float:
        """Pieces from `first` to `end` beside others: after the piece `before`, and needed by the piece `until`."""
        pieces = self.all_pieces
        free = [piece for piece in pieces[first:end] if piece.kind == words.COMPUTING]
        works = self._works({piece.span_id for piece in gone}, [*free, *gone])
        if in_a_thread:
            for i in range(first, end):
                turns = tuple(Turn(turn.waiting + turn.computing, 0, turn.outside) for turn in works[i].turns)
                works[i] = replace(works[i], turns=turns)
        around = (str(first - 1),) if first else ()
        works[first] = replace(works[first], needs=() if before is None else (str(before),))
        # what followed, also beside the path, follows what was before them
        inside = {str(i): sum(piece.duration_us for piece in pieces[first : i + 1]) for i in range(first, end)}
        for i in range(end, len(works)):
            work = works[i]
            if work.needs and (work.needs[0] == str(end - 1) or (i >= len(pieces) and work.needs[0] in inside)):
                later_us = inside[work.needs[0]] if i >= len(pieces) else 0
                turn = replace(work.turns[0], waiting=work.turns[0].waiting + later_us)
                works[i] = replace(work, needs=(*around, *work.needs[1:]), turns=(turn, *work.turns[1:]))
        works[until] = replace(works[until], needs=(*works[until].needs, str(end - 1)))
        # first come, first served: what is begun ahead comes first
        return self._ttfw([*works[first:end], *works[:first], *works[end:]])

    def _works(self, gone: Collection[str] = (), free: Sequence[Piece] = ()) -> list[Work]:
        """A work for each piece, which needs the one before it; then one for each of what was made beside them.

        free: pieces that do not hold the loop any more where they did.
        """
        pieces = self.all_pieces
        works = [
            Work(str(i), (str(i - 1),) if i else (), None, (_turn(piece, piece.span_id in gone),), 1)
            for i, piece in enumerate(pieces)
        ]
        for number, beside in enumerate(self.start.beside):
            needed = _at(pieces, beside.needed_us)
            began = _at(pieces, beside.start_us)
            if needed is None or pieces[needed].span_id in gone or (began is not None and began >= needed):
                continue  # who needed it is gone, too
            sooner_us = min(sum(_overlap_us(piece, beside) for piece in free), beside.delayed_us)
            duration_us = beside.duration_us - sooner_us
            ready_us = beside.start_us + duration_us - (beside.needed_us - pieces[needed].start_us)
            if began is None:  # before the agent's first line
                name, needs, waiting = f"beside {number}", (), ready_us - pieces[0].start_us
            else:
                whole = pieces[began].span_id not in gone
                since = pieces[began].start_us if whole else beside.start_us
                name, needs, waiting = f"beside {number}", works[began].needs, ready_us - since
            works.append(Work(name, needs, None, (Turn(max(waiting, 0), 0),), 1))
            works[needed] = replace(works[needed], needs=(*works[needed].needs, name))
        return works

    def _ttfw(self, works: Sequence[Work], sooner_us: int = 0) -> float:
        start = self.start
        joined = 0 if start.ttfw_s is None else max(start.duration_us - round(start.ttfw_s * 1e6), 0)
        dispatched = sum(piece.duration_us for piece in self.dispatch)
        last = str(len(self.all_pieces) - 1)
        return ttfw(Model(tuple(works), dispatched - sooner_us, last, joined, 0))


def observed_chain(start: RecordedStart, source: AgentSource) -> ObservedChain | None:
    """Returns the chain of a start; None where it had no first word, or its path was not observed."""
    if start.method.value != words.OBSERVED or start.ttfw_s is None:
        return None
    dispatch = tuple(piece for piece in start.path if piece.is_dispatch)
    rest = [piece for piece in start.path if not piece.is_dispatch]
    stretches = [
        LineStretch(tuple(pieces), statement)
        for statement, pieces in groupby(rest, key=lambda piece: source.leading_to(piece.source))
    ]
    return ObservedChain(start, source, dispatch, tuple(stretches)) if stretches else None


def _turn(piece: Piece, is_gone: bool) -> Turn:
    if piece.name == words.ABSENT_CALLER:
        return Turn(0, 0, piece.start_us + piece.duration_us)
    if is_gone:
        return Turn(0, 0)
    return Turn(0, piece.duration_us) if piece.kind in words.LOOP_IS_HELD else Turn(piece.duration_us, 0)


def _overlap_us(piece: Piece, beside: MadeBeside) -> int:
    """For how long a piece held the loop while something was made beside it."""
    if piece.kind not in words.LOOP_IS_HELD:
        return 0
    begin = max(piece.start_us, beside.start_us)
    return max(min(piece.start_us + piece.duration_us, beside.start_us + beside.duration_us) - begin, 0)


def _at(pieces: Sequence[Piece], instant_us: int) -> int | None:
    """Which piece an instant falls into, the later one where it is a border; None for one before them all."""
    return next((i for i in reversed(range(len(pieces))) if pieces[i].start_us <= instant_us + _BORDER_US), None)
