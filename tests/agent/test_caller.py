"""Who is a caller, and whether they are there: on rooms that are LiveKit's own emitters, without a server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc

from firstword.agent.call.caller import Caller, first_caller, is_caller, missed, server_ahead
from firstword.agent.call.presence import Presence

KINDS = rtc.ParticipantKind


class _Participant(rtc.RemoteParticipant):
    """A remote participant that no server announced."""

    def __init__(self, identity: str, kind: int = KINDS.PARTICIPANT_KIND_STANDARD, joined: float = 1.0) -> None:
        self.said = SimpleNamespace(identity=identity, kind=kind, attributes=dict[str, str](), joined=joined)

    identity = property(lambda self: self.said.identity)  # pyright: ignore[reportIncompatibleMethodOverride]
    kind = property(lambda self: self.said.kind)  # pyright: ignore[reportIncompatibleMethodOverride]
    attributes = property(lambda self: self.said.attributes)  # pyright: ignore[reportIncompatibleMethodOverride]
    joined_at = property(lambda self: datetime.fromtimestamp(self.said.joined, UTC))  # pyright: ignore[reportIncompatibleMethodOverride]


class _Room(rtc.EventEmitter[str]):
    """What a room has for us: its participants, its events."""

    def __init__(self, *participants: _Participant) -> None:
        super().__init__()
        self.remote_participants = {each.identity: each for each in participants}
        self.local_participant = SimpleNamespace(track_publications={})

    def come(self, participant: _Participant) -> None:
        self.remote_participants[participant.identity] = participant
        self.emit("participant_connected", participant)

    def leave(self, participant: _Participant) -> None:
        del self.remote_participants[participant.identity]
        self.emit("participant_disconnected", participant)

    @property
    def real(self) -> rtc.Room:
        return cast("rtc.Room", self)


@pytest.mark.parametrize(
    ("kind", "caller"),
    [
        (KINDS.PARTICIPANT_KIND_STANDARD, True),
        (KINDS.PARTICIPANT_KIND_AGENT, False),
        (KINDS.PARTICIPANT_KIND_EGRESS, False),
        (KINDS.PARTICIPANT_KIND_INGRESS, False),
        (KINDS.PARTICIPANT_KIND_SIP, False),
    ],
)
def test_kinds(kind: int, caller: bool) -> None:
    """A client is somebody to greet; an agent, a recorder, a stream, a telephone that rings are not."""
    assert is_caller(_Participant("a", kind)) is caller


@pytest.mark.parametrize(
    ("status", "caller"), [("dialing", False), ("ringing", False), ("active", True), ("hangup", False)]
)
def test_telephone(status: str, caller: bool) -> None:
    """A telephone is a caller while its call is active."""
    participant = _Participant("a", KINDS.PARTICIPANT_KIND_SIP)
    participant.attributes["sip.callStatus"] = status
    assert is_caller(participant) is caller


async def test_first_of_those_there() -> None:
    """Of several who are there the one who joined first is the caller; when is said in ns."""
    room = _Room(_Participant("late", joined=9.0), _Participant("early", joined=2.5))
    found = await first_caller(room.real)
    assert (found.identity, found.joined) == ("early", 2_500_000_000)


@pytest.mark.parametrize("skew", [-60.0, -0.5, 0.0, 0.5, 60.0])
def test_a_skewed_clock_makes_nobody_late(skew: float) -> None:
    """The caller who subscribed is not late, and one who came a second after the first frame is, whatever the server's clock says."""
    connecting, began = 1_000.0, 1_001.0  # our clock, seconds
    room = _Room()
    room.local_participant.joined_at = datetime.fromtimestamp(connecting + 0.05 + skew, UTC)
    ahead = server_ahead(room.real, round(connecting * 1e9))
    in_time, late = (Caller(_Participant("a"), joined=round((began + s + skew) * 1e9)) for s in (-0.1, 1.0))
    assert not missed(in_time, round(began * 1e9), ahead)
    assert missed(late, round(began * 1e9), ahead)


async def test_waits_past_others() -> None:
    """A recorder who comes is waited past; the caller who comes then is taken; nothing listens on afterwards."""
    room = _Room()
    waiting = asyncio.ensure_future(first_caller(room.real))
    await asyncio.sleep(0)
    room.come(_Participant("recorder", KINDS.PARTICIPANT_KIND_EGRESS))
    room.come(_Participant("caller"))
    room.come(_Participant("second"))
    assert (await waiting).identity == "caller"


async def test_answered_telephone() -> None:
    """A telephone that is answered becomes the caller then, whenever it joined."""
    telephone = _Participant("phone", KINDS.PARTICIPANT_KIND_SIP)
    room = _Room(telephone)
    waiting = asyncio.ensure_future(first_caller(room.real))
    await asyncio.sleep(0)
    telephone.attributes["sip.callStatus"] = "active"
    room.emit("participant_attributes_changed", {}, telephone)
    found = await waiting
    assert (found.identity, found.joined) == ("phone", None)


def _presence(room: _Room, caller: _Participant, grace: float, heard: list[str]) -> Presence:
    presence = Presence(
        room.real,
        Caller(caller, joined=None),
        grace=grace,
        gone=lambda: heard.append("gone"),
        back=lambda: heard.append("back"),
    )
    presence.watch()
    return presence


async def test_comes_back_in_time() -> None:
    """A caller who is back within the grace is announced as back; what they subscribed to before counts no more."""
    caller, said = _Participant("a"), list[str]()
    room = _Room(caller)
    presence = _presence(room, caller, 10, said)
    assert presence.hears
    room.leave(caller)
    assert not presence.hears
    room.come(_Participant("a"))
    assert said == ["back"]
    assert not presence.hears
    room.emit("local_track_subscribed", cast(Any, None))
    assert presence.hears
    presence.close()


async def test_leaves_for_good() -> None:
    """A caller who isn't back within the grace is gone, once; a stranger who comes or goes changes nothing."""
    caller, stranger, said = _Participant("a"), _Participant("b"), list[str]()
    room = _Room(caller)
    presence = _presence(room, caller, 0.01, said)
    room.come(stranger)
    room.leave(stranger)
    room.leave(caller)
    await asyncio.sleep(0.05)
    assert said == ["gone"]
    presence.close()


async def test_left_before_anybody_looked() -> None:
    """A caller who had left when their presence was first looked at is gone after the grace."""
    caller, said = _Participant("a"), list[str]()
    presence = _presence(_Room(), caller, 0, said)
    await asyncio.sleep(0.01)
    assert said == ["gone"]
    presence.close()


async def test_closed() -> None:
    """Once closed it says nothing more."""
    caller, said = _Participant("a"), list[str]()
    room = _Room(caller)
    presence = _presence(room, caller, 0, said)
    presence.close()
    room.leave(caller)
    await asyncio.sleep(0.01)
    assert said == []
