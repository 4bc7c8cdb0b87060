"""Merges an observed path's many pieces into few before they become spans, with the same begin, end and sum.

A streamed answer is dozens of waits and some computing between them, all for one line of the user's: one piece. A
merged piece has the kind and line of most of its time. Between `firstword.telemetry.observed_path` and
`firstword.telemetry.observed_layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from itertools import pairwise

from firstword.telemetry.observed_path import ObservedKind, ObservedPiece
from firstword.telemetry.source_lines import SourceLine

LEAST_PIECE = 1_000_000
"""Nanoseconds. A shorter piece joins a neighbour."""
SAME_LINE = 4
"""A piece that joins a neighbour of the same line may be this many times as long."""

_Label = tuple[ObservedKind, SourceLine | None, str | None]


@dataclass
class _Node:
    """A piece made of one or several, between its neighbours."""

    start: int
    end: int
    weights: dict[_Label, int]
    holders: dict[str, int] = field(default_factory=dict[str, int])
    label: _Label = field(init=False)
    before: _Node | None = None
    after: _Node | None = None
    gone: bool = False

    def __post_init__(self) -> None:
        self.label = max(self.weights, key=self.weights.__getitem__)

    def absorb(self, other: _Node) -> None:
        """Take a neighbour in."""
        self.start, self.end = min(self.start, other.start), max(self.end, other.end)
        for label, weight in other.weights.items():
            self.weights[label] = self.weights.get(label, 0) + weight
        for holder, weight in other.holders.items():
            self.holders[holder] = self.holders.get(holder, 0) + weight
        self.label = max(self.weights, key=self.weights.__getitem__)
        other.gone = True
        self.before, self.after = (other.before, self.after) if other is self.before else (self.before, other.after)
        if self.before is not None:
            self.before.after = self
        if self.after is not None:
            self.after.before = self

    def target(self) -> tuple[float, _Node | None]:
        """Into which neighbour it would go, and at what price: its length, by how little that would change."""
        neighbours = [node for node in (self.before, self.after) if node is not None]
        if not neighbours:
            return float("inf"), None
        length = self.end - self.start

        def nearness(node: _Node) -> tuple[bool, bool, int]:
            return node.label == self.label, node.label[1] == self.label[1], node.end - node.start

        nearest = max(neighbours, key=nearness)
        if nearest.label == self.label:
            return 0.0, nearest
        return (length / SAME_LINE if nearest.label[1] == self.label[1] else float(length)), nearest


def merged(pieces: Sequence[ObservedPiece], most: int) -> tuple[ObservedPiece, ...]:
    """Returns at most `most` pieces (1 or more) that cover the same time. The shortest pieces, and all below
    `LEAST_PIECE`, join neighbours.

    pieces: in time order, without gap or overlap.
    """
    nodes = [
        _Node(
            piece.start,
            piece.end,
            {(piece.kind, piece.line, piece.inside): piece.end - piece.start},
            {piece.held_by: piece.end - piece.start} if piece.held_by is not None else {},
        )
        for piece in pieces
    ]
    for node, following in pairwise(nodes):
        node.after, following.before = following, node
    prices = [(node.target()[0], at) for at, node in enumerate(nodes)]
    heapify(prices)
    places = {id(node): at for at, node in enumerate(nodes)}
    left = len(nodes)
    while prices:
        price, at = heappop(prices)
        node = nodes[at]
        now, nearest = node.target()
        if node.gone or nearest is None or now != price:
            continue  # it has another price by now, and stands there again
        if price >= LEAST_PIECE and left <= most:
            break
        nearest.absorb(node)
        left -= 1
        for changed in (nearest, nearest.before, nearest.after):
            if changed is not None:
                heappush(prices, (changed.target()[0], places[id(changed)]))
    return tuple(_piece(node) for node in nodes if not node.gone)


def _piece(node: _Node) -> ObservedPiece:
    kind, line, inside = node.label
    held_by = max(node.holders, key=node.holders.__getitem__, default=None)
    piece = ObservedPiece(kind, node.start, node.end, line, inside)
    return replace(piece, held_by=held_by) if kind is ObservedKind.EVENT_LOOP else piece
