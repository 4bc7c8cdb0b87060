"""What a reader says of its source beside the spans: what was used, passed over, and lost.

Below all readers. Whoever reads hears the notes as they come; added up, they account for all that is in the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Problem:
    """A loss: something in a source that could not be used. The rest of the source still is."""

    where: str
    """File and line, trace, or address."""
    found: str
    expected: str
    whole_file: bool = False
    """A file or an answer of which nothing could be used, or that broke off: nobody knows how much is lost."""

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; expected {self.expected}"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """No loss: something in a source that is not a trace, such as a file of another kind or another signal."""

    where: str
    what: str
    """What it is, in the plural where it is no whole file: `documents of metrics`."""
    pieces: int = 0
    """So many beside traces; 0: it is a whole file."""


@dataclass(frozen=True, slots=True)
class Used:
    """A file or an answer that was read, as far as it goes."""

    where: str
    spans: int
    values_left_out: int = 0
    """Attributes, links and names of these spans that could not be kept."""
    noun: str = "file"
    """What was read."""
    count: int = 1
    """How many of these."""


@dataclass(frozen=True, slots=True)
class Warned:
    """What the source itself says of its traces: Jaeger's warnings, Tempo's partial traces."""

    where: str
    says: str


@dataclass(frozen=True, slots=True)
class Given:
    """How many traces the source gave of what it read: those that were asked for."""

    traces: int


Note: TypeAlias = Problem | PassedOver | Used | Warned | Given
Report: TypeAlias = Callable[[Note], None]
"""Hears each note as it comes."""


def ignore(_: Note) -> None:
    """For a second reading, whose notes the first has reported."""
