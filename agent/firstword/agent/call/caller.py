"""Who the agent waits for: the first caller in the room.

Under the plan's `caller` task; `firstword.agent.call.presence` watches who was found. Knows LiveKit's rooms, nothing of accounts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from livekit import rtc

SIP_CALL_STATUS = "sip.callStatus"
"""Attribute that LiveKit's SIP service keeps: dialing, ringing, active, hangup."""


ANNOUNCED_LATE_NS = 300_000_000
"""A caller who joined so long after the first frame was not who had subscribed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The participant who waits to hear something."""

    participant: rtc.RemoteParticipant
    joined: int | None
    """Unix time in ns on the server's clock, to the millisecond; None for who became a caller just now: a telephone
    that was answered.
    """

    @property
    def identity(self) -> str:
        """LiveKit's identity of the caller in the room."""
        return self.participant.identity


def is_caller(participant: rtc.RemoteParticipant) -> bool:
    """Whether it is somebody to greet: a client, or a telephone once its call is active. Never an agent or a recorder."""
    if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP:
        return participant.attributes.get(SIP_CALL_STATUS) == "active"
    return participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD


async def first_caller(room: rtc.Room) -> Caller:
    """The first caller in a connected room, waited for as long as it takes."""
    found: asyncio.Future[Caller] = asyncio.get_running_loop().create_future()

    def came(*_: object) -> None:
        callers = [p for p in room.remote_participants.values() if is_caller(p)]
        if callers and not found.done():
            first = min(callers, key=_joined_at)
            found.set_result(Caller(first, joined=round(_joined_at(first) * 1e9) or None))

    def changed(_: dict[str, str], participant: rtc.Participant) -> None:
        if isinstance(participant, rtc.RemoteParticipant) and is_caller(participant) and not found.done():
            found.set_result(Caller(participant, joined=None))

    room.on("participant_connected", came)
    room.on("participant_attributes_changed", changed)
    try:
        came()
        return await found
    finally:
        room.off("participant_connected", came)
        room.off("participant_attributes_changed", changed)


def may_be_listening(room: rtc.Room) -> bool:
    """Whether who subscribed to our track may be a caller: one is there, or nobody has been announced yet.

    LiveKit does not say who subscribed. Where only others are seen, an agent or a ringing telephone, it was one of them.
    """
    others = room.remote_participants.values()
    return not others or any(is_caller(participant) for participant in others)


async def until_only_others(room: rtc.Room) -> None:
    """Returns when participants are announced and none of them is a caller."""
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


def server_ahead(room: rtc.Room, connecting: int) -> int:
    """By how many ns the server's clock is ahead of ours, judged by our own joining of the room.

    connecting: ns on our clock before the connect. Too much by as long as the join took; 0 where the server tells no time.
    """
    joined = _joined_at(room.local_participant)
    return round(joined * 1e9) - connecting if joined else 0


def missed(caller: Caller, began: int, ahead: int) -> bool:
    """Whether the caller came too late for a first frame at `began`, ns on our clock; `ahead`: the server's, in ns."""
    return caller.joined is not None and caller.joined - ahead > began + ANNOUNCED_LATE_NS


def _joined_at(participant: rtc.Participant) -> float:
    joined = participant.joined_at
    return joined.timestamp() if joined is not None else 0.0
