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
"""Seconds: what saves less is not worth a change, and is within what starts differ by anyhow."""


@dataclass(frozen=True, slots=True)
class AuditedStart:
    """One start that a rule looks at."""

    chain: ObservedChain
    first_voice: FirstVoice
    agent: AgentFacts
    heard_s: float
    """What its caller heard it after."""
    floor_s: float | None
    """The floor's median in the same run; None where the floor was not heard."""


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """What a rule finds in one start."""

    pieces: tuple[Piece, ...]
    """The evidence: what the caller waited for."""
    saving_s: float
    least_s: float
    """As `saving_s`, where what the start does not tell is against us, and for us."""
    most_s: float
    subject: str = ""
    """What it is about, where a start can have several: a line of source, a module."""


@dataclass(frozen=True, slots=True)
class OpportunityRule:
    """One kind of opportunity."""

    name: str
    """Stable, for programs."""
    title: str
    """For people; `{subject}` stands for what it is about."""
    why: str
    """What the evidence means, in one or two sentences."""
    how: str
    code: str
    """A snippet of Python or shell."""
    link: str
    find: Callable[[AuditedStart], Iterable[RuleFinding]]


def found(pieces: Sequence[Piece], saving_s: float, subject: str = "") -> RuleFinding:
    """A finding whose saving the start itself decides."""
    return RuleFinding(tuple(pieces), saving_s, saving_s, saving_s, subject)


def without(start: AuditedStart, pieces: Sequence[Piece], subject: str = "") -> list[RuleFinding]:
    """The finding that these pieces need not be; none where there are none."""
    if not pieces:
        return []
    return [found(pieces, start.chain.played_s() - start.chain.without(pieces), subject)]
