"""Who is a caller, and whether they are there: on rooms that are LiveKit's own emitters, without a server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.rtc._proto.participant_pb2 import ParticipantPermission

from firstword.agent.call.caller import Caller, Callers, missed, server_ahead
from firstword.agent.call.presence import ANNOUNCED_WITHIN_S, Presence
from firstword.agent.call.role import Role, assists, is_caller, role_of
from firstword.telemetry.testing import StartupTest

KINDS = rtc.ParticipantKind


class _Participant(rtc.RemoteParticipant):
    """A remote participant that no server announced."""

    def __init__(
        self, identity: str, kind: int = KINDS.PARTICIPANT_KIND_STANDARD, joined: float = 1.0, *, publishes: bool = True
    ) -> None:
        permissions = ParticipantPermission(can_publish=publishes)
        self.said = SimpleNamespace(
            identity=identity, kind=kind, attributes=dict[str, str](), joined=joined, permissions=permissions
        )

    sid = identity = property(lambda self: self.said.identity)  # pyright: ignore[reportIncompatibleMethodOverride]
    kind = property(lambda self: self.said.kind)  # pyright: ignore[reportIncompatibleMethodOverride]
    attributes = property(lambda self: self.said.attributes)  # pyright: ignore[reportIncompatibleMethodOverride]
    permissions = property(lambda self: self.said.permissions)  # pyright: ignore[reportIncompatibleMethodOverride]
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


def _first(room: _Room, *, now: float = 1.0, told: list[str] | None = None) -> asyncio.Future[Caller]:
    told = [] if told is None else told
    return asyncio.ensure_future(Callers(room.real, now=lambda: round(now * 1e9), tell=told.append).first())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (KINDS.PARTICIPANT_KIND_STANDARD, Role.CALLER),
        (KINDS.PARTICIPANT_KIND_CONNECTOR, Role.CALLER),
        (KINDS.PARTICIPANT_KIND_BRIDGE, Role.CALLER),
        (99, Role.CALLER),
        (KINDS.PARTICIPANT_KIND_AGENT, Role.HELPER),
        (KINDS.PARTICIPANT_KIND_EGRESS, Role.HELPER),
        (KINDS.PARTICIPANT_KIND_INGRESS, Role.HELPER),
        (KINDS.PARTICIPANT_KIND_SIP, Role.UNKNOWN),
    ],
)
def test_kinds(kind: int, expected: Role) -> None:
    """Whoever comes is greeted, of kinds that are still to come too; agents, recorders and streams never are."""
    assert role_of(_Participant("a", kind)) is expected


def test_who_publishes_for_another_is_a_helper() -> None:
    """An avatar joins as a client would, but speaks for the agent."""
    avatar = _Participant("avatar")
    avatar.attributes["lk.publish_on_behalf"] = "agent"
    assert role_of(avatar) is Role.HELPER
    assert assists(avatar)


def test_who_may_not_publish_is_a_listener() -> None:
    """A supervisor; nobody misses a room in which only such are left."""
    monitor = _Participant("monitor", publishes=False)
    assert role_of(monitor) is Role.LISTENER
    assert assists(monitor)
    assert not assists(_Participant("caller"))


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
    found = await _first(room)
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
    waiting = _first(room)
    await asyncio.sleep(0)
    room.come(_Participant("recorder", KINDS.PARTICIPANT_KIND_EGRESS))
    room.come(_Participant("caller"))
    room.come(_Participant("second"))
    assert (await waiting).identity == "caller"


async def test_answered_telephone() -> None:
    """A telephone that is answered becomes the caller then, whenever it joined."""
    telephone = _Participant("phone", KINDS.PARTICIPANT_KIND_SIP)
    telephone.attributes["sip.callStatus"] = "ringing"
    room = _Room(telephone)
    waiting = _first(room)
    await asyncio.sleep(0)
    telephone.attributes["sip.callStatus"] = "active"
    room.emit("participant_attributes_changed", {}, telephone)
    found = await waiting
    assert (found.identity, found.joined) == ("phone", None)


def test_a_telephone_of_which_nobody_says_that_it_was_answered(startup_test: StartupTest) -> None:
    """It is warned about one second after it joined and greeted after two: its wait counts."""
    room, told = _Room(_Participant("phone", KINDS.PARTICIPANT_KIND_SIP, joined=10.0)), list[str]()

    async def wait() -> tuple[Caller, float]:
        waiting = _first(room, now=10.5, told=told)
        await asyncio.sleep(0.4)
        assert not told
        await asyncio.sleep(0.2)
        assert told == ["caller.status_missing"]
        return await waiting, asyncio.get_running_loop().time()

    found, at = startup_test.loop.run_until_complete(wait())
    assert (found.identity, found.joined, at) == ("phone", 10_000_000_000, pytest.approx(1.5))
    assert told == ["caller.status_missing"]


@pytest.mark.parametrize(
    ("comes", "greeted", "at", "events"), [(2.9, "caller", 2.9, []), (None, "monitor", 3.0, ["caller.listener"])]
)
def test_a_monitor_is_no_caller_while_one_may_come(
    startup_test: StartupTest, comes: float | None, greeted: str, at: float, events: list[str]
) -> None:
    """Who may not publish is greeted after three seconds alone, however long they were there before the agent."""
    room, told = _Room(_Participant("monitor", joined=1.0, publishes=False)), list[str]()

    async def wait() -> tuple[Caller, float]:
        waiting = _first(room, now=100.0, told=told)
        if comes is not None:
            await asyncio.sleep(comes)
            room.come(_Participant("caller", joined=103.0))
        return await waiting, asyncio.get_running_loop().time()

    found, when = startup_test.loop.run_until_complete(wait())
    assert (found.identity, when) == (greeted, pytest.approx(at))
    assert told == events


def test_who_is_allowed_to_publish_becomes_the_caller(startup_test: StartupTest) -> None:
    """As soon as they are."""
    guest = _Participant("guest", publishes=False)
    room = _Room(guest)

    async def wait() -> float:
        waiting = _first(room)
        await asyncio.sleep(1)
        guest.said.permissions.can_publish = True
        room.emit("participant_permissions_changed", guest, guest.permissions)
        await waiting
        return asyncio.get_running_loop().time()

    assert startup_test.loop.run_until_complete(wait()) == 1


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


def test_leaves_for_good(startup_test: StartupTest) -> None:
    """A caller who isn't back within the grace is gone, once; a stranger who comes or goes changes nothing."""
    caller, stranger, said = _Participant("a"), _Participant("b"), list[str]()
    room = _Room(caller)

    async def leave() -> None:
        presence = _presence(room, caller, 5, said)
        room.come(stranger)
        room.leave(stranger)
        room.leave(caller)
        await asyncio.sleep(5 + ANNOUNCED_WITHIN_S - 0.1)
        assert said == []
        await asyncio.sleep(0.2)
        presence.close()

    startup_test.loop.run_until_complete(leave())
    assert said == ["gone"]


def test_joined_within_the_grace_and_announced_after_it(startup_test: StartupTest) -> None:
    """LiveKit may announce late who has come back in time; they are still waited for."""
    caller, said = _Participant("a"), list[str]()
    room = _Room(caller)

    async def reload() -> None:
        presence = _presence(room, caller, 2, said)
        room.leave(caller)
        await asyncio.sleep(2.1)
        room.come(_Participant("a"))
        await asyncio.sleep(60)
        presence.close()

    startup_test.loop.run_until_complete(reload())
    assert said == ["back"]


def test_left_before_anybody_looked(startup_test: StartupTest) -> None:
    """A caller who had left when their presence was first looked at is gone after the grace."""
    caller, said = _Participant("a"), list[str]()

    async def look() -> None:
        presence = _presence(_Room(), caller, 0, said)
        await asyncio.sleep(ANNOUNCED_WITHIN_S + 0.01)
        presence.close()

    startup_test.loop.run_until_complete(look())
    assert said == ["gone"]


def test_somebody_else_is_followed(startup_test: StartupTest) -> None:
    """From then on it is they who may leave, and the first one's leaving changes nothing."""
    first, second, said = _Participant("a"), _Participant("b"), list[str]()
    room = _Room(first, second)

    async def follow() -> None:
        presence = _presence(room, first, 1, said)
        presence.follow(Caller(second, joined=None))
        room.leave(first)
        await asyncio.sleep(60)
        assert (said, presence.here) == ([], True)
        room.leave(second)
        await asyncio.sleep(60)
        presence.close()

    startup_test.loop.run_until_complete(follow())
    assert said == ["gone"]


async def test_closed() -> None:
    """Once closed it says nothing more."""
    caller, said = _Participant("a"), list[str]()
    room = _Room(caller)
    presence = _presence(room, caller, 0, said)
    presence.close()
    room.leave(caller)
    await asyncio.sleep(0.01)
    assert said == []
