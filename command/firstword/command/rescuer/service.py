"""Looks at all rooms again and again, and calls an agent to a caller whose agent has died.

Above `firstword.command.rescuer.watched_room`, which decides. Whatever fails is tried again at the next look: no error ends the
service. Any number of them may run: before one calls an agent it marks the room, by a dispatch that no agent takes. LiveKit
lists the dispatches of a room in one order for all, and only the one whose mark is first goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from firstword.agent.interruption import RESCUE, sign, signed_metadata
from firstword.command.rescuer.instruments import RescueInstruments, RescueOutcome
from firstword.command.rescuer.livekit_rooms import Answer, LiveKitError, Room, RoomParticipant, Rooms
from firstword.command.rescuer.renewed_claim import with_renewed_claim
from firstword.command.rescuer.watched_room import Pending, RoomNeed, RoomSeen, WatchedRoom

logger = logging.getLogger("firstword")

AT_ONCE: Final = 64
"""Rooms that are looked at at the same time."""
OTHERS_EVERY: Final = 3
"""Looks after which a room without an agent of ours is looked at again."""
SETTLED_S: Final = 0.05
"""Seconds until the marks of rescuers that act at once are all listed."""


@dataclass(frozen=True, slots=True)
class RescueEvent:
    """What has just become of a room. It holds ids of LiveKit's alone."""

    room: str
    """The room's id."""
    outcome: RescueOutcome
    dispatch: str | None = None
    """Of `seen`: the id of the dispatch whose agent has died."""
    alone_s: float | None = None
    """Of `rescued`: seconds from the last sign of the agent that died."""


def ignore(event: RescueEvent) -> None:
    """Does nothing with an event: nobody asks for it."""


@dataclass(slots=True)
class RescueService:
    """The rescuer of the agents with some names, on one LiveKit server."""

    rooms: Rooms
    agent_names: Collection[str]
    secret: str
    """Of LiveKit's API: what it writes is signed with it."""
    claim_key: str | None
    """FIRSTWORD_CLAIM_KEY, if claims name accounts."""
    instruments: RescueInstruments
    dry_run: bool = False
    report: Callable[[RescueEvent], None] = ignore
    """Is called with each event."""
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    """Unix time, seconds."""
    _watched: dict[str, WatchedRoom] = field(default_factory=dict[str, WatchedRoom])
    """By the room's id."""
    _failing: set[str] = field(default_factory=set[str])
    """Ids of the rooms that could not be looked at."""
    _looks: int = 0
    _trouble: str | None = None
    """Why the last look failed."""

    async def look(self) -> None:
        """Looks at all rooms once, and does what they need. Raises LiveKitError if the very first answer is that the key is
        refused, and nothing else but what ends a program.
        """
        try:
            rooms = await self.rooms.rooms()
        except LiveKitError as error:
            if error.refused and not self._looks:
                raise
            self._say_trouble(str(error))
            return
        there = {room.sid for room in rooms}
        self._failing &= there
        for gone in self._watched.keys() - there:
            self._forget(gone)
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(index: int, room: Room) -> str | None:
            async with limit:
                try:
                    await self._look_at(index, room)
                except LiveKitError as error:
                    failure = str(error)
                except Exception as error:  # of one room; the others shall be looked at
                    failure = f"a fault in firstword: {type(error).__name__}"
                else:
                    self._failing.discard(room.sid)
                    return None
            again = room.sid in self._failing
            self._failing.add(room.sid)
            return failure if again else None  # the first time it may just have been closed

        failures = [failure for failure in await asyncio.gather(*map(one, range(len(rooms)), rooms)) if failure]
        self._looks += 1
        if failures:
            self._say_trouble(f"{len(failures)} of {len(rooms)} rooms can't be looked at: {failures[0]}")
            return
        if self._trouble is not None:
            self._trouble = None
            logger.info("LiveKit answers again")
        attended = sum(room.answering is not None for room in self._watched.values())
        alone = sum(bool(room.dead) for room in self._watched.values())
        self.instruments.looked(self.wall_clock(), attended, alone)

    async def _look_at(self, index: int, room: Room) -> None:
        watched = self._watched.get(room.sid)
        if watched is None:
            watched = self._watched[room.sid] = WatchedRoom(room.name, self.agent_names, self.secret)
        elif watched.over:
            return
        elif watched.answering is not None:
            if await self.rooms.answer(room.name, watched.answering) is Answer.ALIVE:
                watched.answered(watched.answering, self.clock())
                return
        elif not watched.ours and (index + self._looks) % OTHERS_EVERY:
            return
        participants, dispatches = await asyncio.gather(
            self.rooms.participants(room.name), self.rooms.dispatches(room.name)
        )
        watched.ours = any(each.agent_name in self.agent_names for each in dispatches)
        if not watched.ours and watched.pending is None:
            return
        agents = [each.identity for each in participants if each.agent]
        answers = await asyncio.gather(*(self.rooms.answer(room.name, identity) for identity in agents))
        seen = RoomSeen(
            callers=sum(each.caller for each in participants),
            agents=dict(zip(agents, answers, strict=True)),
            dispatches=dispatches,
        )
        need = watched.needs(seen, self.clock())
        taken = {identity for each in dispatches if each.agent_name in self.agent_names for identity in each.agents}
        alive = (identity for identity, answer in seen.agents.items() if answer is Answer.ALIVE and identity in taken)
        watched.answering = next(alive, None)
        await self._meet(need, room, watched, participants)

    async def _meet(
        self, need: RoomNeed, room: Room, watched: WatchedRoom, participants: Collection[RoomParticipant]
    ) -> None:
        pending = watched.pending
        if need is RoomNeed.CALL:
            await self._call(room, watched, participants)
        elif pending is None:
            if need is RoomNeed.GIVE_UP:
                self._give_up(room, watched, "the agent that was called has died, too")
        elif need is RoomNeed.AGAIN:
            await self._call_again(room, watched, pending, participants)
        elif need is RoomNeed.RESCUED:
            watched.pending = None
            alone = self.clock() - pending.alone_since
            self._count(RescueEvent(room.sid, RescueOutcome.RESCUED, alone_s=alone))
            logger.info(
                "room %s: an agent is there again, %.1f s after the last sign of the one that died", room.sid, alone
            )
        elif need is RoomNeed.LEFT:
            watched.pending = None
            self._count(RescueEvent(room.sid, RescueOutcome.LEFT))
            logger.info("room %s: the caller has left before another agent was there", room.sid)
        elif need is RoomNeed.GIVE_UP:
            self._give_up(room, watched, "no agent has come; possible cause: all workers are full, or none runs")

    async def _call(self, room: Room, watched: WatchedRoom, participants: Collection[RoomParticipant]) -> None:
        """Calls another agent, unless another rescuer does, or the agent turns out to have ended by itself."""
        died = watched.dead[0]
        if self.dry_run:
            watched.over = True
            self._count(RescueEvent(room.sid, RescueOutcome.SEEN, died.id))
            logger.warning("room %s: the agent of dispatch %s has died; another one would be called", room.sid, died.id)
            return
        word = sign("room", room.name, self.secret, now=self.wall_clock(), dispatch=died.id)
        ours = await self.rooms.dispatch(room.name, RESCUE, word)
        await asyncio.sleep(SETTLED_S)
        listed = await self.rooms.dispatches(room.name)
        first = watched.mark(listed)
        if first is None or first.id != ours.id or died.id not in {each.id for each in listed}:
            await self.rooms.delete(room.name, ours.id)
            return
        self._count(RescueEvent(room.sid, RescueOutcome.SEEN, died.id))
        now = self.clock()
        claims = [(each.claim, each.joined) for each in participants if each.caller and each.claim]
        metadata = with_renewed_claim(
            died.metadata, died.created, claims, room.name, self.claim_key, now=self.wall_clock()
        )
        watched.pending = Pending(died.agent_name, metadata, watched.alone_since(), now, now, None)
        logger.warning("room %s: the agent of dispatch %s has died; another one is called", room.sid, died.id)
        await self._dispatch(room, watched, watched.pending, participants)

    async def _call_again(
        self, room: Room, watched: WatchedRoom, pending: Pending, participants: Collection[RoomParticipant]
    ) -> None:
        if self.dry_run:
            watched.pending = None
            return
        if pending.dispatch is not None:
            await self.rooms.delete(room.name, pending.dispatch)
        await self._dispatch(room, watched, pending, participants)

    async def _dispatch(
        self, room: Room, watched: WatchedRoom, pending: Pending, participants: Collection[RoomParticipant]
    ) -> None:
        dead = {identity for each in watched.dead for identity in each.agents}
        for identity in dead & {each.identity for each in participants}:
            await self.rooms.remove(room.name, identity)  # should it live after all, two must not talk
        metadata = signed_metadata(pending.metadata, room.name, self.secret, now=self.wall_clock())
        pending.tried = self.clock()
        made = await self.rooms.dispatch(room.name, pending.agent_name, metadata)
        pending.dispatch = made.id
        for each in watched.dead:
            await self.rooms.delete(room.name, each.id)

    def _give_up(self, room: Room, watched: WatchedRoom, why: str) -> None:
        watched.pending, watched.over = None, True
        self._count(RescueEvent(room.sid, RescueOutcome.GIVEN_UP))
        logger.error("room %s: its caller is given up: %s", room.sid, why)

    def _forget(self, sid: str) -> None:
        if self._watched.pop(sid).pending is not None:
            self._count(RescueEvent(sid, RescueOutcome.LEFT))
            logger.info("room %s: it was closed before another agent was there", sid)

    def _count(self, event: RescueEvent) -> None:
        self.instruments.ended(event.outcome, event.alone_s)
        self.report(event)

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning("%s", trouble)
