"""What a rule is: it looks at one start. It says what of the path could go, and how much sooner the first word would have come.

Below the three families, `greeting_rules`, `entrypoint_rules` and `dispatch_rules`. `firstword.tuning.audit.opportunities` applies them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from firstword.tuning.audit.facts import AgentFacts, FirstVoice
from firstword.tuning.audit.played import ObservedChain
from firstword.tuning.start import Piece

LEAST_S = 0.020
"""Seconds; a smaller saving is not worth a change, and starts differ by as much anyhow."""


@dataclass(frozen=True, slots=True)
class AuditedStart:
    """One start as a rule looks at it: its path, facts about the agent, and when its caller heard something."""

    chain: ObservedChain
    first_voice: FirstVoice
    agent: AgentFacts
    heard_s: float
    """Seconds after which its caller heard something."""
    floor_s: float | None
    """The floor's median in the same run; None where the floor was not heard."""


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """What a rule finds in one start: pieces that could go, and how many seconds that would save."""

    pieces: tuple[Piece, ...]
    """The evidence: what the caller waited for."""
    saving_s: float
    """Seconds that are expected to be saved."""
    least_s: float
    """Seconds saved where what the start does not tell is against us; `most_s`: where it is for us."""
    most_s: float
    subject: str = ""
    """What the finding is about, where a start can have several: a line of source, a module."""


@dataclass(frozen=True, slots=True)
class OpportunityRule:
    """One kind of opportunity: the texts that explain it, and the function that finds it in a start."""

    name: str
    """Stable name, for programs."""
    title: str
    """What to do, for people; `{subject}` stands for what it is about."""
    why: str
    """What the evidence means, in one or two sentences."""
    how: str
    code: str
    """A snippet of Python or shell."""
    link: str
    find: Callable[[AuditedStart], Iterable[RuleFinding]]
    unpredicted: str = ""
    """Why no start tells what the change would save, for people; empty where one does."""


def found(pieces: Sequence[Piece], saving_s: float, subject: str = "") -> RuleFinding:
    """Returns a finding with one saving, in seconds, as the expected, the least and the most: the start itself decides it."""
    return RuleFinding(tuple(pieces), saving_s, saving_s, saving_s, subject)


def seen(pieces: Sequence[Piece]) -> list[RuleFinding]:
    """Returns one finding of a rule that predicts no saving. Returns an empty list where the pieces took less than `LEAST_S`."""
    took_s = sum(piece.duration_us for piece in pieces) / 1e6
    return [found(pieces, 0.0)] if took_s >= LEAST_S else []


def without(start: AuditedStart, pieces: Sequence[Piece], subject: str = "") -> list[RuleFinding]:
    """Returns one finding: what the start would save if these pieces took no time. Returns an empty list for no pieces."""
    if not pieces:
        return []
    return [found(pieces, start.chain.played_s() - start.chain.without(pieces), subject)]
