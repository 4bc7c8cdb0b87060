"""Finds the first caller in the room, for whom the agent waits.

Under the plan's `caller` task; `firstword.agent.call.presence` watches who was found. Knows LiveKit's rooms, nothing of
accounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from livekit import rtc

from firstword.agent.call.role import SIP_CALL_STATUS, Role, is_caller, role_of

logger = logging.getLogger("firstword")

UNKNOWN_WARNED_S = 1.0
"""Seconds after a telephone without `sip.callStatus` joined until there is a warning."""
UNKNOWN_GREETED_S = 2.0
"""Seconds after such a telephone joined until it is greeted all the same."""
LISTENER_GREETED_S = 3.0
"""Seconds that somebody who may not publish waits for a caller who may. Then they are greeted as the caller."""

CONNECTED_WITHIN_S = 2.0
"""Seconds to wait for a caller's media connection, if somebody else may have subscribed in their place."""
ANNOUNCED_LATE_NS = 300_000_000
"""Nanoseconds. A caller who joined later than this after the first frame is not the one who had subscribed."""

_DUE_S = 0.001
"""Seconds that are no wait: a clock's rounding."""

_CHANGES = (
    "participant_connected",
    "participant_disconnected",
    "participant_attributes_changed",
    "participant_permissions_changed",
)
"""Events of a room after which somebody else may be the caller."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The participant whom the agent greets, and when they joined."""

    participant: rtc.RemoteParticipant
    joined: int | None
    """Unix time in ns on the server's clock, to the millisecond. None for who became a caller just now, such as a
    telephone that was answered.
    """

    @property
    def identity(self) -> str:
        """Returns LiveKit's identity of the caller in the room."""
        return self.participant.identity


@dataclass(frozen=True, slots=True)
class _Sight:
    at: float
    """When somebody was first seen, seconds on the loop's clock."""
    age: float
    """How long they had been in the room by then, seconds."""
    role: Role


class Callers:
    """Finds the caller among the participants of a room.

    now: returns the time on the server's clock, Unix ns. tell: called with the name of an event for the trace.
    """

    def __init__(self, room: rtc.Room, *, now: Callable[[], int], tell: Callable[[str], None]) -> None:
        self._room = room
        self._now = now
        self._tell = tell
        self._sights: dict[str, _Sight] = {}
        self._warned: set[str] = set()

    async def first(self) -> Caller:
        """Waits until there is a caller in a connected room, for as long as it takes, and returns the first.

        A telephone of unknown state, and somebody who may not publish, are taken for the caller after a while.
        """
        changed = asyncio.Event()

        def look(*_: object) -> None:
            changed.set()

        for name in _CHANGES:
            self._room.on(name, look)
        try:
            while True:
                changed.clear()
                caller, again = self._choose()
                if caller is not None:
                    return caller
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(again):
                        await changed.wait()
        finally:
            for name in _CHANGES:
                self._room.off(name, look)

    def _choose(self) -> tuple[Caller | None, float | None]:
        """The caller, if there is one by now; else in how many seconds to look again, None: when something changes."""
        present = by_arrival(self._room)
        for participant in present:
            self._see(participant)
        for participant in present:
            if role_of(participant) is Role.CALLER:
                return self._as_caller(participant), None
        waits: list[float] = []
        for participant in present:
            wait = self._wait(participant)
            if wait is not None and wait < _DUE_S:
                return self._as_caller(participant), None
            if wait is not None:
                waits.append(wait)
        return None, min(waits, default=None)

    def _see(self, participant: rtc.RemoteParticipant) -> None:
        if participant.sid not in self._sights:
            joined = _joined_at(participant)
            age = max(self._now() / 1e9 - joined, 0.0) if joined else 0.0
            self._sights[participant.sid] = _Sight(asyncio.get_running_loop().time(), age, role_of(participant))

    def _as_caller(self, participant: rtc.RemoteParticipant) -> Caller:
        answered_later = self._sights[participant.sid].role is Role.RINGING
        return Caller(participant, joined=None if answered_later else round(_joined_at(participant) * 1e9) or None)

    def _wait(self, participant: rtc.RemoteParticipant) -> float | None:
        """Seconds until who is no caller yet is looked at again, 0 or less: greeted now; None: never by themselves."""
        sight = self._sights[participant.sid]
        seen = asyncio.get_running_loop().time() - sight.at
        match role_of(participant):
            case Role.UNKNOWN:
                return self._wait_unknown(participant, sight.age + seen)
            case Role.LISTENER:
                if seen > LISTENER_GREETED_S - _DUE_S:
                    self._tell("caller.listener")
                    logger.warning("somebody who may not publish is greeted as the caller: nobody else has come")
                return LISTENER_GREETED_S - seen
            case _:
                return None

    def _wait_unknown(self, participant: rtc.RemoteParticipant, age: float) -> float:
        if age > UNKNOWN_WARNED_S - _DUE_S and participant.sid not in self._warned:
            self._warned.add(participant.sid)
            self._tell("caller.status_missing")
            logger.warning(
                "a telephone waits: expected its attribute %s; possible cause: not LiveKit's SIP service. "
                "It is greeted %g s after it joined",
                SIP_CALL_STATUS,
                UNKNOWN_GREETED_S,
            )
        return (UNKNOWN_GREETED_S if age > UNKNOWN_WARNED_S - _DUE_S else UNKNOWN_WARNED_S) - age


def by_arrival(room: rtc.Room) -> list[rtc.RemoteParticipant]:
    """Returns the participants of the room in the order in which they joined."""
    return sorted(room.remote_participants.values(), key=_joined_at)


def may_be_listening(room: rtc.Room) -> bool:
    """Returns whether the one who subscribed to our track may be a caller: one is there, or nobody has been announced
    yet.

    LiveKit does not say who subscribed. If only others are seen, an agent or a ringing telephone, it was one of them.
    """
    others = room.remote_participants.values()
    return not others or any(is_caller(participant) for participant in others)


async def until_only_others(room: rtc.Room) -> None:
    """Waits until participants are announced and none of them is a caller."""
    announced = asyncio.Event()

    def look(*_: object) -> None:
        if not may_be_listening(room):
            announced.set()

    room.on("participant_connected", look)
    try:
        look()
        await announced.wait()
    finally:
        room.off("participant_connected", look)


async def until_connected(room: rtc.Room, caller: Caller) -> None:
    """Waits until the caller's media connection is up, at most `CONNECTED_WITHIN_S` seconds. Returns at once if the
    caller is alone.

    LiveKit reports the first subscription of a track, and not whose it is: a supervisor's says nothing of the caller.
    """
    if set(room.remote_participants) <= {caller.identity}:
        return
    connected = asyncio.Event()

    def look(_: object = None) -> None:
        there = room.remote_participants.get(caller.identity)  # another object where they have come back
        if there is not None and there.state == rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE:
            connected.set()

    room.on("participant_active", look)
    try:
        look()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECTED_WITHIN_S):
                await connected.wait()
    finally:
        room.off("participant_active", look)


def server_ahead(room: rtc.Room, connecting: int) -> int:
    """Returns by how many ns the server's clock is ahead of ours, judged by when we joined the room.

    connecting: when the connect began, ns on our clock. The result is too large by the time that the join took. It is 0
    if the server tells no time.
    """
    joined = _joined_at(room.local_participant)
    return round(joined * 1e9) - connecting if joined else 0


def missed(caller: Caller, began: int, ahead: int) -> bool:
    """Returns whether the caller joined too late to hear a first frame at `began`, ns on our clock.

    ahead: ns by which the server's clock is ahead of ours.
    """
    return caller.joined is not None and caller.joined - ahead > began + ANNOUNCED_LATE_NS


def _joined_at(participant: rtc.Participant) -> float:
    joined = participant.joined_at
    return joined.timestamp() if joined is not None else 0.0
