"""Whether the tuner finds a difference where there is none: the A/A test that it must pass before it ramps any flag.

Beside `firstword.tuning.rollout`. A flag that changes nothing is on for half of the sessions. Sessions that get lost, a
split that is not random, or a source that shows one variant only make a difference all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from firstword.tuning.compare import NotComparable, Verdict, compare, sentence
from firstword.tuning.observation import Observation
from firstword.tuning.rollout import SETTLING
from firstword.tuning.wording import amount

HALF = 50
"""Percent of the sessions for which the flag that changes nothing is on."""
ENOUGH_TRIED = 200
"""Number of sessions without a difference after which the tuner is trusted."""
_NO_DIFFERENCE = (Verdict.SAME, Verdict.UNDECIDED)


@dataclass(frozen=True, slots=True)
class TrialState:
    """How far the tuner was tried, as the flag file has it."""

    since: float | None = None
    """When the trial that runs began, in seconds since the Unix epoch; None where none runs."""
    passed: bool = False
    failed: str | None = None
    """The difference that was found; None where none was."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What the sessions so far say of a trial."""

    passed: bool
    """Whether enough sessions show no difference."""
    failed: bool
    """Whether there is a difference where none can be."""
    reason: str


def tried(observations: Sequence[Observation], flag: str, since: float) -> TrialResult:
    """Compares the sessions by a flag that changes nothing.

    since: when half of the sessions began to get it, in seconds since the Unix epoch. Earlier sessions are not used.
    """
    recent = [o for o in observations if o.time >= since + SETTLING and flag in o.flags]
    try:
        found = compare(recent, flag, share=HALF / 100)
    except NotComparable as nothing:
        return TrialResult(False, False, f"{nothing} since the trial began")
    if found.verdict is Verdict.DEPENDENT:
        return TrialResult(False, False, sentence(found))
    if found.verdict not in _NO_DIFFERENCE:
        return TrialResult(False, True, f"a flag that changes nothing makes a difference: {sentence(found)}")
    units = sum(found.units.values())
    if units < ENOUGH_TRIED:
        return TrialResult(False, False, f"{units} of {ENOUGH_TRIED} {found.drawn}s of the trial, no difference so far")
    return TrialResult(True, False, f"no difference in {amount(units, found.drawn.value)}")
