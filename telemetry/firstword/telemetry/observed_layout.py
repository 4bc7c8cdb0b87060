"""Lays out an observed start as spans in plain data: root, dispatch, phases, and under them the observed path.

Between `firstword.telemetry.merged_pieces` and `firstword.telemetry.spans`, beside `firstword.telemetry.layout`, whose
shape it has: Jaeger's own rule finds the same path in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from firstword.telemetry import vocabulary as words
from firstword.telemetry.critical_path import dispatch_pieces
from firstword.telemetry.layout import Attribute, PieceSpan, SpanData, lay_out_path
from firstword.telemetry.merged_pieces import merged
from firstword.telemetry.observed_path import ObservedKind, ObservedPiece
from firstword.telemetry.record import Start
from firstword.telemetry.source_lines import relative
from firstword.telemetry.times import SLOW_S

MOST_OBSERVED_SPANS = 40
"""Most spans of one observed start."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A piece that has no line: a stage of the dispatch, or an absent caller."""

    name: str
    start: int
    end: int


def lay_out_observed(
    start: Start,
    pieces: Sequence[ObservedPiece],
    *,
    absent: tuple[int, int] | None = None,
    folder: str = "",
    slow: float = SLOW_S,
) -> tuple[SpanData, ...]:
    """Returns all spans of an observed start, a parent before its children. There are at most `MOST_OBSERVED_SPANS`.

    pieces: from the start's first step to its end, ns since the Unix epoch. There are none if the loop was not
    recorded; then the method is `guessed`. absent: from when to when only the caller was missing; it replaces the
    pieces of that time. folder: of the file that was started; the lines' files are relative to it. slow: as for
    `firstword.telemetry.layout.lay_out`.
    """
    if not pieces:
        return lay_out_path(start, (), _plain, method=words.GUESSED, critical_task=None, slow=slow)
    dispatch = [_Named(piece.name, piece.start, piece.end) for piece in dispatch_pieces(start, start.first_step)]
    frame = 2 + len(start.phases)
    # each border of a phase may cut a piece in two
    most = MOST_OBSERVED_SPANS - frame - max(len(start.phases) - 1, 0) - len(dispatch)
    path: list[ObservedPiece | _Named] = [*dispatch]
    if absent is None:
        path += merged(pieces, most)
    else:
        before = [cut for piece in pieces if (cut := _cut(piece, start.start, absent[0])) is not None]
        after = [cut for piece in pieces if (cut := _cut(piece, absent[1], start.end)) is not None]
        few = merged(before, max((most - 1) * len(before) // (len(before) + len(after) or 1), 1))
        path += [*few, _Named(words.ABSENT_CALLER, *absent), *merged(after, most - 1 - len(few))]

    def piece_span(piece: ObservedPiece | _Named) -> PieceSpan:
        return _plain(piece) if isinstance(piece, _Named) else _of_line(piece, folder)

    took: dict[str, int] = {}
    for piece in path:
        name = piece_span(piece).name
        took[name] = took.get(name, 0) + (piece.end - piece.start if name != words.ABSENT_CALLER else 0)
    longest = max(took, key=took.__getitem__)
    if beside := _beside(start, pieces):
        start = replace(start, attributes={**start.attributes, words.BESIDE: beside})
    return lay_out_path(start, path, piece_span, method=words.OBSERVED, critical_task=longest, slow=slow)


def absence(start: Start, pieces: Sequence[ObservedPiece], connected: int | None) -> tuple[int, int] | None:
    """Returns from when to when (ns since the Unix epoch) only the caller was missing, or None if that was never so.

    It ends when they joined, in the piece that their coming, or their answer to us, ended. An answer came from outside
    because they had come, such as a subscription. connected: when the room was connected, ns; None if it never was.
    """
    joined = start.end if start.joined is None else start.joined
    for piece in pieces:
        answer = (
            piece.kind in (ObservedKind.OUTSIDE, ObservedKind.CALLER_SOUND)
            and connected is not None
            and connected <= piece.start
        )
        if piece.start < joined and (piece.is_arrival or (answer and joined <= piece.end)):
            return piece.start, min(piece.end, joined)
    return None


def _beside(start: Start, pieces: Sequence[ObservedPiece]) -> str:
    """What was made beside the path and needed on it."""
    told: list[str] = []
    for work in (work for piece in pieces for work in piece.beside):
        began, ready, needed = ((each - start.start) // 1000 for each in (work.began, work.ready, work.needed))
        told.append(f"{began}+{ready - began}-{work.delayed // 1000}>{needed}")
    return " ".join(told)


def _cut(piece: ObservedPiece, begin: int, end: int) -> ObservedPiece | None:
    begin, end = max(piece.start, begin), min(piece.end, end)
    return replace(piece, start=begin, end=end) if begin < end else None


def _plain(piece: _Named) -> PieceSpan:
    return PieceSpan(piece.name, {})


def _of_line(piece: ObservedPiece, folder: str) -> PieceSpan:
    attributes: dict[str, Attribute] = {words.KIND: piece.kind.value}
    if piece.line is not None:
        attributes[words.FILE] = relative(piece.line.file, folder)
        attributes[words.LINE] = piece.line.line
        attributes[words.FUNCTION] = piece.line.function
    if piece.inside is not None:
        attributes[words.INSIDE] = piece.inside
    if piece.held_by is not None:
        attributes[words.HELD_BY] = piece.held_by
    return PieceSpan(piece.kind.value if piece.line is None else piece.line.function, attributes)
