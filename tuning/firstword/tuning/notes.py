"""What a reader says of its source beside the spans: what was used, passed over, and lost.

Below all readers. Whoever reads hears the notes as they come; added up, they account for all that is in the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Problem:
    """A note of a loss: something in a source that could not be used. The rest of the source still is."""

    where: str
    """File and line, trace, or address."""
    found: str
    expected: str
    whole_file: bool = False
    """Whether nothing of a file or an answer could be used, or it broke off: nobody knows how much is lost."""

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; expected {self.expected}"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A note of something in a source that is not a trace, such as a file of another kind or another signal. It is no loss."""

    where: str
    what: str
    """What it is, in the plural where it is a part of a file: `documents of metrics`."""
    pieces: int = 0
    """How many such parts lie beside traces; 0 for a whole file."""


@dataclass(frozen=True, slots=True)
class Used:
    """A note that a file or an answer was read, with the number of its spans."""

    where: str
    spans: int
    values_left_out: int = 0
    """Attributes, links and names of these spans that could not be kept."""
    noun: str = "file"
    """What was read, in the singular: a file, a service."""
    count: int = 1
    """How many of these were read."""


@dataclass(frozen=True, slots=True)
class Warned:
    """A note of what the source itself says of its traces: Jaeger's warnings, Tempo's partial traces."""

    where: str
    says: str


@dataclass(frozen=True, slots=True)
class Given:
    """A note with the number of traces that the source gave: of all that it read, those that were asked for."""

    traces: int


Note: TypeAlias = Problem | PassedOver | Used | Warned | Given
Report: TypeAlias = Callable[[Note], None]
"""A function that is called with each note as it comes."""


def ignore(_: Note) -> None:
    """Ignores a note. It is the `Report` of a second reading, whose notes the first has reported."""
