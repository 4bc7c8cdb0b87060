"""One look: reads the flags and the starts since their last move, and decides. `tune` and its service decide by it alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from firstword.agent.flags.flag_file import FlagFileError
from firstword.agent.flags.improvements import SUBJECTS
from firstword.agent.flags.writer import Move
from firstword.command.flag_shares import predictions, rollouts
from firstword.command.observed import Observed
from firstword.command.tuner.evidence import RolloutEvidence
from firstword.command.tuner.flag_store import StoredFlags
from firstword.tuning.rollout import LADDER, Action, Ladder, RolloutStep, plan
from firstword.tuning.trust import unread


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with each flag, and on what that was decided."""

    steps: tuple[RolloutStep, ...]
    """One step a flag, the most urgent first; at most one moves."""
    observed: Observed

    def moves(self, now: float) -> tuple[Move, ...]:
        """Returns the move to write, if there is one. now: seconds since the Unix epoch."""
        step = self.steps[0]
        back = step.action is Action.TURN_BACK
        return (Move(step.flag, step.to, step.reason, now, turned_back=back),) if step.moves else ()


def last_move(stored: StoredFlags) -> float:
    """Returns when any flag last moved, in seconds since the Unix epoch; 0 where nobody knows. Raises FlagFileError."""
    known = rollouts(stored.file, stored.changed)
    if not known:
        raise FlagFileError(f"{stored.name}: expected a flag of ours, such as {next(iter(SUBJECTS))}")
    return max(rollout.since for rollout in known)


def only_unread(observed: Observed) -> str | None:
    """Returns a doubt where part of the source was not read: all that one look by itself can know."""
    found = unread(reliable=observed.reliable, capped=observed.capped)
    return None if found is None else found.words


def decide(
    stored: StoredFlags,
    evidence: RolloutEvidence,
    doubt_of: Callable[[Observed], str | None] = only_unread,
    *,
    ladder: Ladder = LADDER,
    whole: bool = True,
) -> Decision:
    """Decides what to do with each flag. Raises FlagFileError, SourceError, OSError.

    doubt_of: says why the starts can't be trusted, or None. whole: see `RolloutEvidence.starts`.
    """
    moved = last_move(stored)
    found = evidence.starts(moved, whole=whole)  # what began before the last move does not count
    predicted = evidence.predicted(predictions(stored.file))
    known = rollouts(stored.file, stored.changed)
    return Decision(plan(found.starts, known, predicted, doubt=doubt_of(found), ladder=ladder), found)
