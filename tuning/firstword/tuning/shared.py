"""Keeps what thousands of starts have in common once: a start keeps a reference to it, and its own numbers.

Used by `firstword.tuning.observation`, of which a command holds one for every session it counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from functools import lru_cache

_MOST = 10_000
"""Different ones that are remembered; past it some are kept twice."""


class Times(Mapping[str, float]):
    """A read-only map from name to seconds that shares its names with other maps of the same names, to save memory."""

    __slots__ = ("_places", "_seconds")

    def __init__(self, of: Mapping[str, float]) -> None:
        self._places = _places(tuple(of))
        self._seconds = array("d", of.values())

    def __getitem__(self, name: str) -> float:
        return self._seconds[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def variants(of: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the map of flag name -> variant as one object for all equal maps, to save memory; nobody may change it."""
    return _variants(tuple(sorted(of.items())))


@lru_cache(_MOST)
def word(of: str) -> str:
    """Returns the string as one object for all equal strings, to save memory."""
    return of


@lru_cache(_MOST)
def _variants(items: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(items)


@lru_cache(_MOST)
def _places(names: tuple[str, ...]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}
