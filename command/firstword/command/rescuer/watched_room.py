"""Decides what a room needs: nothing, an agent, the agent once more, or nobody since nothing helps.

Pure, between `firstword.command.rescuer.service`, which looks and acts, and what it saw. One for each room.

    a dispatch of ours was taken ──> its agent answered ──> silent or away for 5 s ──> no mark of ours yet ──> CALL
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from firstword.agent.interruption import RESCUE, checked
from firstword.command.rescuer.livekit_rooms import Answer, RoomDispatch

ALONE_S: Final = 5.0
"""Seconds without a sign of the agent after which it counts as dead."""
MARKS_WITHIN_S: Final = 8.0
"""Seconds that an agent which left may take to delete its dispatch: a busy machine took 5. A killed one is in its room for longer."""
JOINS_WITHIN_S: Final = 30.0
"""Seconds that an agent which took a dispatch may take to enter the room."""
TAKEN_WITHIN_S: Final = 8.0
"""Seconds after which a dispatch that no worker took is made anew. LiveKit itself offers it to workers once."""
PATIENCE_S: Final = 60.0
"""Seconds after which a caller for whom no agent came is given up."""
ORPHANED_S: Final = 20.0
"""Seconds after which a rescue that another rescuer began, and does not go on with, is taken over."""
_SILENCES: Final = 2
"""Unanswered calls in a row that are silence: one may be a lost packet."""


class RoomNeed(Enum):
    """What a room needs now."""

    NOTHING = auto()
    CALL = auto()
    """Its agent has died, and no other was called yet."""
    AGAIN = auto()
    """The agent that was called did not come."""
    RESCUED = auto()
    """The agent that was called is there."""
    LEFT = auto()
    """The caller left before the agent that was called was there."""
    GIVE_UP = auto()
    """Its second agent has died too, or nobody comes."""


@dataclass(frozen=True, slots=True, repr=False)
class RoomSeen:
    """What a look saw of a room."""

    callers: int
    agents: Mapping[str, Answer]
    """What each agent in the room said, by identity."""
    dispatches: Sequence[RoomDispatch]
    """Oldest first."""


@dataclass(slots=True)
class Pending:
    """A rescue that is under way."""

    agent_name: str
    metadata: str
    alone_since: float
    began: float
    tried: float
    dispatch: str | None
    """Id of the dispatch that was made last."""


@dataclass(slots=True, repr=False)
class WatchedRoom:
    """What is remembered of a room from look to look. All times are seconds of one clock that only goes forward."""

    name: str
    agent_names: Collection[str]
    secret: str
    pending: Pending | None = None
    ours: bool = False
    """Whether an agent of ours was called to it, as of the last look."""
    over: bool = False
    """Whether nothing more is done for it."""
    answering: str | None = None
    """Identity of the agent that answered last, if it did at the last look."""
    dead: tuple[RoomDispatch, ...] = ()
    """The dispatches whose agents are dead, as of the last look, oldest first."""
    _answered: dict[str, float] = field(default_factory=dict[str, float])
    _silences: dict[str, int] = field(default_factory=dict[str, int])
    _away: dict[str, float] = field(default_factory=dict[str, float])
    _orphan: tuple[str, float] | None = None

    def answered(self, identity: str, now: float) -> None:
        """Notes that an agent has answered."""
        self._answered[identity] = now
        self._silences.pop(identity, None)
        self._away.pop(identity, None)

    def alone_since(self) -> float:
        """Returns when the last of the dead agents gave its last sign."""
        agents = [identity for each in self.dead for identity in each.agents]
        return max(self._answered.get(identity, self._away.get(identity, 0.0)) for identity in agents)

    def needs(self, seen: RoomSeen, now: float) -> RoomNeed:
        """Returns what the room needs, by what a look saw of it at `now`."""
        ours = [each for each in seen.dispatches if each.agent_name in self.agent_names]
        for identity in {identity for each in ours for identity in each.agents} | seen.agents.keys():
            self._note(identity, seen.agents.get(identity, Answer.ABSENT), now)
        self.dead = tuple(
            each for each in ours if each.agents and all(self._is_dead(identity, now) for identity in each.agents)
        )
        attended = {identity for identity in seen.agents if not self._is_dead(identity, now)}
        if self.over:
            return RoomNeed.NOTHING
        if self.pending is not None:
            return self._needs_more(self.pending, seen, attended, now)
        if not seen.callers or attended:
            return RoomNeed.NOTHING
        if mark := self.mark(seen.dispatches):
            return self._needs_after(mark, ours, now)
        return RoomNeed.CALL if self.dead else RoomNeed.NOTHING

    def mark(self, dispatches: Sequence[RoomDispatch]) -> RoomDispatch | None:
        """Returns the oldest of these dispatches that says that the room has had its second agent, if one does.

        Whoever asks LiveKit for a room may name any agents: only the signature tells.
        """
        marks = (each for each in dispatches if each.agent_name == RESCUE)
        return next((each for each in marks if checked(each.metadata, "room", self.name, self.secret)), None)

    def _needs_more(self, pending: Pending, seen: RoomSeen, attended: Collection[str], now: float) -> RoomNeed:
        if any(seen.agents[identity] in (Answer.ALIVE, Answer.UNKNOWN) for identity in attended):
            return RoomNeed.RESCUED
        if not seen.callers:
            return RoomNeed.LEFT
        if now - pending.began >= PATIENCE_S:
            return RoomNeed.GIVE_UP
        return RoomNeed.AGAIN if now - pending.tried >= TAKEN_WITHIN_S and not attended else RoomNeed.NOTHING

    def _needs_after(self, mark: RoomDispatch, ours: Sequence[RoomDispatch], now: float) -> RoomNeed:
        """The room has had its second dispatch, or whoever marked it has not come that far."""
        later = [each for each in ours if each.created >= mark.created]
        if any(each in self.dead for each in later):
            return RoomNeed.GIVE_UP
        untaken = next((each for each in later if not each.agents), None)
        left_over = untaken or next(iter(self.dead), None)
        if left_over is None:
            return RoomNeed.NOTHING
        if self._orphan is None or self._orphan[0] != left_over.id:
            self._orphan = left_over.id, now
        if now - self._orphan[1] < ORPHANED_S:
            return RoomNeed.NOTHING
        self.pending = Pending(
            left_over.agent_name, left_over.metadata, self._orphan[1], now, now, untaken and untaken.id
        )
        return RoomNeed.AGAIN

    def _note(self, identity: str, answer: Answer, now: float) -> None:
        if answer in (Answer.ALIVE, Answer.JOINING):
            self.answered(identity, now)
        elif answer is Answer.ABSENT:
            self._away.setdefault(identity, now)
        else:
            self._answered.setdefault(identity, now)
            self._silences[identity] = self._silences.get(identity, 0) + 1 if answer is Answer.SILENT else 0

    def _is_dead(self, identity: str, now: float) -> bool:
        away = now - self._away[identity] if identity in self._away else None
        if identity not in self._answered:
            return away is not None and away >= JOINS_WITHIN_S
        silent = self._silences.get(identity, 0) >= _SILENCES or (away is not None and away >= MARKS_WITHIN_S)
        return silent and now - self._answered[identity] >= ALONE_S
