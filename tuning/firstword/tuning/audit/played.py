"""An observed start as a chain that can be played again: what would the caller have waited, had a part of it been otherwise?

Between `firstword.tuning.start` and the rules of `firstword.tuning.audit`. It is played by `firstword.tuning.replay`.

An observed path has no plan. So it becomes one: each stretch for one line needs the one before it. A stretch is what its pieces say, in
turns. A wait is a wait; computing, and a delay by the event loop, hold the loop. Played unchanged, the chain takes what the start took, but
for the microsecond between pieces. A change takes pieces out of it, or lets a stretch run beside others. Who then ends last decides, and on
the loop who came first, as in the start itself. What ran beside the path is not in the trace, so it is not played. A change that uncovers
such work saves less than is said here. docs/opportunities.md says where that can be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from firstword.telemetry import vocabulary as words
from firstword.tuning.audit.statements import AgentSource, Statement
from firstword.tuning.replay import Model, Turn, Work, ttfw
from firstword.tuning.start import Piece, RecordedStart


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

    def pieces(self, which: Callable[[Piece], bool]) -> tuple[Piece, ...]:
        """Returns the pieces after the dispatch for which `which` is true, in time order."""
        return tuple(piece for stretch in self.stretches for piece in stretch.pieces if which(piece))

    def calls(self, piece: Piece, *ends: str) -> bool:
        """Returns whether the statement at a piece's line calls one of these names (`Statement.calls_any`)."""
        statement = self.source.statement(piece.source)
        return statement is not None and statement.calls_any(*ends)

    def played_s(self) -> float:
        """Plays the chain unchanged. Returns the seconds that the caller waited for the first word."""
        return self._ttfw(self._works())

    def without(self, gone: Collection[Piece]) -> float:
        """Returns the seconds that the caller would have waited, had these pieces taken no time."""
        ids = {piece.span_id for piece in gone}
        return self._ttfw(self._works(ids), sum(piece.duration_us for piece in self.dispatch if piece.span_id in ids))

    def beside(self, moved: int, after: int | None, until: int, *, in_a_thread: bool = False) -> float:
        """Returns the seconds that the caller would have waited, had the stretch with index `moved` run beside those
        around it.

        after: index of the stretch that it needs; None for none. until: index of the first stretch behind it that needs
        it.
        in_a_thread: whether it runs in a thread, so that what it computes does not hold the loop.
        """
        works = self._works()
        if in_a_thread:
            turns = tuple(Turn(turn.waiting + turn.computing, 0) for turn in works[moved].turns)
            works[moved] = replace(works[moved], turns=turns)
        works[moved] = replace(works[moved], needs=() if after is None else (works[after].name,))
        works[moved + 1] = replace(works[moved + 1], needs=(works[moved - 1].name,) if moved else ())
        works[until] = replace(works[until], needs=(*works[until].needs, works[moved].name))
        # first come, first served: what is begun ahead comes first
        return self._ttfw([works.pop(moved), *works])

    def _works(self, gone: Collection[str] = ()) -> list[Work]:
        works: list[Work] = []
        for i, stretch in enumerate(self.stretches):
            turns = tuple(_turns([piece for piece in stretch.pieces if piece.span_id not in gone]))
            works.append(Work(str(i), (str(i - 1),) if i else (), None, turns, len(turns)))
        return works

    def _ttfw(self, works: Sequence[Work], sooner_us: int = 0) -> float:
        start = self.start
        joined = 0 if start.ttfw_s is None else max(start.duration_us - round(start.ttfw_s * 1e6), 0)
        dispatched = sum(piece.duration_us for piece in self.dispatch)
        last = str(len(self.stretches) - 1)
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


def _turns(pieces: Sequence[Piece]) -> Iterator[Turn]:
    waiting, outside = 0, None
    for piece in pieces:
        if piece.name == words.ABSENT_CALLER:
            waiting, outside = 0, piece.start_us + piece.duration_us
        elif piece.kind in words.LOOP_IS_HELD:
            yield Turn(waiting, piece.duration_us, outside)
            waiting, outside = 0, None
        else:
            waiting += piece.duration_us
    if waiting or outside is not None or not pieces:
        yield Turn(waiting, 0, outside)
