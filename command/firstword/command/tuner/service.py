"""The tuner as a service: looks again and again, moves one flag at a time, and holds wherever it cannot trust what it sees.

Above `firstword.command.tuner.decision`, which it shares with a single `firstword tune`. One look:

    lease ──> flags, pause ──> starts ──> doubts ──> decision ──> trial ──> write ──> history, metrics, log

A look reads the starts of the last minutes, and keeps those before. Where a flag would move, it reads all of them again first.

Whatever fails is a reason to hold until the next look. No error ends the service: a share that is out would be turned back by nobody.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from firstword.agent.flags.flag_file import FlagFileError
from firstword.agent.flags.improvements import NO_CHANGE
from firstword.agent.flags.writer import Move
from firstword.command.flag_shares import trial
from firstword.command.observed import Observed
from firstword.command.tuner.counts import NoCounts, WorkerCounts
from firstword.command.tuner.decision import Decision, decide, last_move
from firstword.command.tuner.evidence import RolloutEvidence
from firstword.command.tuner.flag_store import FlagStore
from firstword.command.tuner.history import HistoryEntry, entry, step_entry, word_of
from firstword.command.tuner.instruments import TunerInstruments
from firstword.tuning.rollout import LADDER, Ladder, RolloutStep
from firstword.tuning.sources import SourceError
from firstword.tuning.trial import HALF, TrialState, tried
from firstword.tuning.trust import AHEAD_S, SILENT_S, Doubt, Holding, Seen, doubt, miscounted

logger = logging.getLogger("firstword")


@dataclass(frozen=True, slots=True)
class TunerLook:
    """What one look came to."""

    time: float
    """In seconds since the Unix epoch."""
    held: Doubt | None
    """Why nothing could be ramped; None where nothing spoke against it."""
    decision: Decision | None = None
    """None where nothing could be decided."""
    written: tuple[Move, ...] = ()
    words: str = ""
    """Where the moves were written."""


@dataclass(slots=True)
class TunerService:
    """Looks at the evidence, and moves the flags of a store."""

    store: FlagStore
    evidence: RolloutEvidence
    instruments: TunerInstruments
    apply: bool
    """Whether moves are written; else the service says what it would do."""
    counts: WorkerCounts | None = None
    ladder: Ladder = LADDER
    clock: Callable[[], float] = time.time
    """Seconds since the Unix epoch."""
    _said: tuple[Holding | None, str] | None = None
    """What the history and the log have of the present state."""
    _most: tuple[float, int] = (0.0, 0)
    """Time of the last move, and the largest number of starts seen since then."""
    _unrecorded: list[HistoryEntry] = field(default_factory=list[HistoryEntry])

    def look(self) -> TunerLook:
        """Looks once, and moves a flag if that is due. Raises nothing but what ends a program."""
        try:
            look = self._look()
        except FlagFileError as error:
            look = self._held(Holding.FLAGS, str(error))
        except (SourceError, OSError) as error:
            look = self._held(Holding.SOURCE, str(error))
        except Exception as error:
            look = self._held(Holding.ERROR, f"{type(error).__name__}: {error}")
        self._say(look)
        self.instruments.looked(look.time, look.held.holding if look.held else None)
        return look

    def _held(self, holding: Holding, words: str) -> TunerLook:
        return TunerLook(self.clock(), Doubt(holding, words))

    def _look(self) -> TunerLook:
        if self.apply and (holder := self.store.lease.hold()) is not None:
            return self._held(Holding.STANDBY, f"{holder} works")
        stored = self.store.read()
        self.instruments.shares({name: flag.percent or 0 for name, flag in stored.file.flags.items()})
        if stored.paused is not None:
            return self._held(Holding.PAUSED, stored.paused)
        moved = last_move(stored)
        state = trial(stored.file, stored.changed)
        held: Doubt | None = None

        def doubt_of(observed: Observed) -> str | None:
            nonlocal held
            held = self._doubt(observed, moved) or self._untried(state)
            return None if held is None else held.words

        def decided(*, whole: bool) -> tuple[Decision, tuple[Move, ...]]:
            decision = decide(stored, self.evidence, doubt_of, ladder=self.ladder, whole=whole)
            moves = decision.moves(self.clock())
            if not moves and self.apply and (held is None or held.holding is Holding.TRIAL):
                moves = self._trial(state, moved, decision.observed)
            return decision, moves

        decision, moves = decided(whole=False)
        if moves:  # on nothing but what the source has now
            decision, moves = decided(whole=True)
        if not moves or not self.apply:
            return TunerLook(self.clock(), held, decision)
        # reading may have taken longer than the lease lasts
        if (holder := self.store.lease.hold()) is not None:
            return self._held(Holding.STANDBY, f"{holder} works")
        words = self.store.write(moves, _entries(moves, decision.steps))
        for move in moves:
            self.instruments.stepped(move.flag, _action(move, decision.steps))
        return TunerLook(self.clock(), held, decision, moves, words)

    def _doubt(self, observed: Observed, moved: float) -> Doubt | None:
        """Why the starts can't be trusted: by the store's clock, by themselves, by the workers' own count."""
        now = self.clock()
        ahead = self.store.clock_ahead
        if abs(ahead) > AHEAD_S:
            words = f"the API server's clock is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} this one"
            return Doubt(Holding.CLOCK, words)
        before = self._most[1] if self._most[0] == moved else 0
        own = doubt(Seen(observed.starts, observed.reliable, observed.capped, moved), now, before)
        self._most = moved, max(before, len(observed.starts))
        if own is not None or self.counts is None:
            return own
        begin = max(moved, now - SILENT_S)
        recent = [start for start in observed.starts if start.time >= begin]
        try:
            return miscounted(recent, self.counts.starts(begin, now))
        except NoCounts as error:
            return Doubt(Holding.COUNTS, str(error))

    def _untried(self, state: TrialState) -> Doubt | None:
        """Why the tuner may not ramp yet; a dry run need not be tried."""
        if state.failed is not None:
            return Doubt(Holding.TRIAL_FAILED, state.failed)
        if state.passed or not self.apply:
            return None
        return Doubt(Holding.TRIAL, f"first the tuner is tried on {NO_CHANGE}, which changes nothing")

    def _trial(self, state: TrialState, moved: float, observed: Observed) -> tuple[Move, ...]:
        """The next move of the flag that changes nothing: to a half, or back with what was found."""
        now = self.clock()
        if state.passed:
            return ()
        if state.since is None:
            return (Move(NO_CHANGE, HALF, "the tuner is tried on a flag that changes nothing", now),)
        result = tried(observed.starts, NO_CHANGE, max(state.since, moved))
        if result.failed:
            return (Move(NO_CHANGE, 0, result.reason, now, turned_back=True),)
        return (Move(NO_CHANGE, 0, result.reason, now, proven=True),) if result.passed else ()

    def _say(self, look: TunerLook) -> None:
        """Logs moves, and each change of state once; the history gets the same."""
        steps = look.decision.steps if look.decision else ()
        for each in _entries(look.written, steps):
            logger.log(_level(each), "%s; %s", each.what, each.reason)
        # a move that was written stands in the history already
        state, new = self._state(look)
        if state != self._said:
            self._said = state
            logger.log(_level(new), "%s; %s", new.what, new.reason)
            # one that stands by has nothing to say in the other's history
            if look.held is None or look.held.holding is not Holding.STANDBY:
                self._unrecorded.append(new)
        if self._unrecorded and self.apply:
            try:
                self.store.record(self._unrecorded)
            except FlagFileError as error:
                logger.warning("the history is not written: %s", error)
            else:
                self._unrecorded.clear()

    def _state(self, look: TunerLook) -> tuple[tuple[Holding | None, str], HistoryEntry]:
        """What tells one state from the next, and how the history has it."""
        if look.held is not None:
            return (look.held.holding, ""), entry(look.time, "hold", look.held.words)
        step = look.decision.steps[0] if look.decision else None
        if step is not None and step.moves and not self.apply:
            return (None, f"{step.flag} {step.to}"), step_entry(look.time, step, applied=False)
        return (None, ""), entry(look.time, "works", "nothing speaks against ramping")


def _entries(moves: Sequence[Move], steps: Sequence[RolloutStep]) -> list[HistoryEntry]:
    before = {step.flag: step.percent for step in steps}
    return [
        entry(
            move.time,
            _action(move, steps),
            move.reason,
            flag=move.flag,
            shares=(before.get(move.flag, HALF - move.percent), move.percent),
        )
        for move in moves
    ]


def _action(move: Move, steps: Sequence[RolloutStep]) -> str:
    """The step's word; a move of the flag that changes nothing is one of the trial."""
    return next((word_of(step.action) for step in steps if step.flag == move.flag), "trial")


def _level(said: HistoryEntry) -> int:
    return logging.WARNING if said.action in ("hold", "turn_back") else logging.INFO
