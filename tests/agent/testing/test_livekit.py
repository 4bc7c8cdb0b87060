"""What a LiveKit server and its client do, in which order: the fake is held to the real one by running the same tests on both."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from livekit import api, rtc

from tests.agent.testing.servers import PATIENCE, Server, Servers, published

REASON = rtc.DisconnectReason
SETTLES_S = 0.3
"""Seconds: what did not happen by now is not going to."""


def test_an_agent_who_comes_second(servers: Servers) -> None:
    """The caller is there when its connect returns, with all that is known of them; their track is subscribed after it."""

    async def scenario(server: Server) -> None:
        caller = await server.join("caller", attributes={"a": "1"}, can_update_own_metadata=False)
        await published(caller, "microphone")
        agent = await server.join("agent", kind="agent")
        (there,) = agent.remote_participants.values()
        assert (there.identity, there.kind, there.attributes) == ("caller", 0, {"a": "1"})
        assert there.state == rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE
        assert there.permissions.HasField("can_update_metadata")
        assert not there.permissions.can_update_metadata
        assert there.joined_at is not None
        assert agent.local_participant.joined_at is not None
        assert there.joined_at < agent.local_participant.joined_at <= datetime.now(UTC)
        (publication,) = there.track_publications.values()
        assert (publication.name, publication.subscribed, publication.track) == ("microphone", False, None)
        await agent.reports("track_subscribed")
        await caller.reports("local_track_subscribed")
        assert agent.events == [("connection_state_changed", "1"), ("track_subscribed", "microphone")]
        assert publication.subscribed

    servers.run(scenario)


def test_a_caller_who_publishes_is_announced_at_once(servers: Servers) -> None:
    """Then their track; and when they leave, the track goes first."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent")
        caller = await server.join("caller")
        publication, _ = await published(caller, "microphone")
        await agent.reports("track_subscribed")
        assert publication.name == "microphone"
        await caller.disconnect()
        await agent.reports("participant_disconnected")
        assert agent.events[1:] == [
            ("participant_connected", "caller"),
            ("participant_active", "caller"),
            ("track_published", "microphone"),
            ("track_subscribed", "microphone"),
            ("track_unsubscribed", "microphone"),
            ("track_unpublished", "microphone"),
            ("participant_disconnected", "caller"),
        ]
        assert ("local_track_published", "microphone") in caller.events
        assert not agent.remote_participants

    servers.run(scenario)


def test_announced_late(servers: Servers) -> None:
    """Who only listens has subscribed, and sent data, before anybody is told of them; that takes up to three seconds."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent", auto_subscribe=False)
        await published(agent, "voice")
        await asyncio.sleep(0.5)
        caller = await server.join("caller", kind="sip", attributes={"sip.callStatus": "ringing"})
        await agent.reports("local_track_subscribed")
        await caller.local_participant.publish_data(b"early")
        await agent.reports("data_received")
        assert not agent.remote_participants
        await agent.reports("participant_active")
        late = ("local_track_subscribed", "data_received", "participant_connected", "participant_active")
        assert agent.about(*late) == [
            ("local_track_subscribed", "voice"),
            ("data_received", "early by None"),
            ("participant_connected", "caller"),
            ("participant_active", "caller"),
        ]

    servers.run(scenario)


def test_the_same_identity_twice(servers: Servers) -> None:
    """The first connection ends; the others are told that it has left and that another has come, in this order."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent")
        first = await server.join("caller")
        await agent.reports("participant_active")
        second = await server.join("caller")
        await first.reports("disconnected", str(REASON.DUPLICATE_IDENTITY))
        await agent.reports("participant_connected", times=2)
        assert agent.about("participant_connected", "participant_disconnected") == [
            ("participant_connected", "caller"),
            ("participant_disconnected", "caller"),
            ("participant_connected", "caller"),
        ]
        assert agent.remote_participants["caller"].sid == second.local_participant.sid

    servers.run(scenario)


def test_the_same_identity_twice_publishing(servers: Servers) -> None:
    """All of it is told when the second one publishes."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent", auto_subscribe=False)
        await published(await server.join("caller"), "first")
        await agent.reports("track_published")
        await published(await server.join("caller"), "second")
        await agent.reports("track_published", "second")
        assert agent.events[-5:] == [
            ("track_unpublished", "first"),
            ("participant_disconnected", "caller"),
            ("participant_connected", "caller"),
            ("participant_active", "caller"),
            ("track_published", "second"),
        ]

    servers.run(scenario)


def test_gone_and_back_before_anybody_was_told(servers: Servers) -> None:
    """One announcement, of the newer connection: whoever looks for a return sees none."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent")
        caller = await server.join("caller")
        await caller.disconnect()
        back = await server.join("caller")
        await agent.reports("participant_connected")
        await asyncio.sleep(SETTLES_S)
        assert agent.about("participant_connected", "participant_disconnected") == [("participant_connected", "caller")]
        assert agent.remote_participants["caller"].sid == back.local_participant.sid

    servers.run(scenario)


def test_only_the_first_subscription_is_told(servers: Servers) -> None:
    """Of a publication; one that is published anew is another."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent")
        publication, _ = await published(agent, "voice")
        first = await server.join("first")
        await first.reports("track_subscribed")
        second = await server.join("second")
        await second.reports("track_subscribed")
        await asyncio.sleep(SETTLES_S)
        assert agent.about("local_track_subscribed") == [("local_track_subscribed", "voice")]
        track = publication.track
        assert track is not None
        await agent.local_participant.unpublish_track(publication.sid)
        await first.reports("track_unpublished")
        again = await agent.local_participant.publish_track(track)
        async with asyncio.timeout(PATIENCE):
            await again.wait_for_subscription()
        told = agent.about("local_track_published", "local_track_unpublished", "local_track_subscribed")
        assert [name for name, _ in told] == [
            "local_track_published",
            "local_track_subscribed",
            "local_track_unpublished",
            "local_track_published",
            "local_track_subscribed",
        ]

    servers.run(scenario)


def test_attributes_metadata_permissions(servers: Servers) -> None:
    """Only who may changes their own; the API changes anybody's. All are told at once, of a stranger by announcing them."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent")
        caller = await server.join("caller", can_update_own_metadata=False)
        phone = await server.join("phone", kind="sip", can_update_own_metadata=True)
        await phone.local_participant.set_attributes({"sip.callStatus": "ringing"})
        await agent.reports("participant_connected", "phone")
        assert agent.remote_participants["phone"].attributes == {"sip.callStatus": "ringing"}
        await phone.local_participant.set_attributes({"sip.callStatus": "active"})
        await agent.reports("participant_attributes_changed", "phone")
        await phone.reports("participant_attributes_changed", "phone", times=2)
        assert agent.remote_participants["phone"].attributes == {"sip.callStatus": "active"}
        await caller.local_participant.set_attributes({"firstword.account": "1"})
        await asyncio.sleep(SETTLES_S)
        assert caller.local_participant.attributes == {}
        change = api.UpdateParticipantRequest(room=server.room, identity="phone", attributes={"sip.callStatus": ""})
        change.metadata = "m"
        await server.rooms.update_participant(change)
        await agent.reports("participant_attributes_changed", "phone", times=2)
        assert agent.remote_participants["phone"].attributes == {}
        assert agent.remote_participants["phone"].metadata == "m"
        await published(phone, "microphone")
        await agent.reports("track_subscribed")
        revoked = api.UpdateParticipantRequest(room=server.room, identity="phone")
        revoked.permission.CopyFrom(api.ParticipantPermission(can_subscribe=True, can_publish=False))
        await server.rooms.update_participant(revoked)
        await agent.reports("track_unpublished")
        assert agent.events[-3:] == [
            ("participant_permissions_changed", "phone"),
            ("track_unsubscribed", "microphone"),
            ("track_unpublished", "microphone"),
        ]
        await server.rooms.update_room_metadata(api.UpdateRoomMetadataRequest(room=server.room, metadata="r"))
        await agent.reports("room_metadata_changed")
        assert agent.metadata == "r"

    servers.run(scenario)


def test_how_a_room_ends(servers: Servers) -> None:
    """Who is sent away, or whose room is deleted, is told why; the others that they have left, and for what reason."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent")
        caller = await server.join("caller")
        await published(caller, "microphone")
        await agent.reports("track_subscribed")
        gone = agent.remote_participants["caller"]
        await server.rooms.remove_participant(api.RoomParticipantIdentity(room=server.room, identity="caller"))
        await caller.reports("disconnected", str(REASON.PARTICIPANT_REMOVED))
        await agent.reports("participant_disconnected", "caller")
        assert gone.disconnect_reason == REASON.PARTICIPANT_REMOVED
        await server.rooms.delete_room(api.DeleteRoomRequest(room=server.room))
        await agent.reports("disconnected")
        assert agent.events[-2:] == [
            ("connection_state_changed", "0"),
            ("disconnected", str(REASON.ROOM_DELETED)),
        ]
        assert not agent.isconnected()
        with pytest.raises(api.TwirpError, match="does not exist"):
            await server.rooms.delete_room(api.DeleteRoomRequest(room=server.room))

    servers.run(scenario)


def test_a_connection_that_is_lost_and_found(servers: Servers) -> None:
    """The client says so; nobody else is told, and all goes on."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent")
        caller = await server.join("caller")
        await published(caller, "microphone")
        await agent.reports("track_subscribed")
        before, told = len(agent.events), list(caller.about("participant_disconnected", "participant_connected"))
        await agent.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
        await agent.reports("reconnected")
        assert agent.events[before:] == [
            ("connection_state_changed", "2"),
            ("reconnecting", ""),
            ("connection_state_changed", "1"),
            ("reconnected", ""),
        ]
        await caller.local_participant.publish_data(b"still here")
        await agent.reports("data_received", "still here by caller")
        assert caller.about("participant_disconnected", "participant_connected") == told

    servers.run(scenario)


def test_an_agent_left_alone(servers: Servers) -> None:
    """When the last caller has gone the room is closed after its departure timeout, the agent in it or not."""

    async def scenario(server: Server) -> None:
        caller = await server.join("caller", departure_timeout=1)
        agent = await server.join("agent", kind="agent")
        await caller.disconnect()
        await agent.reports("disconnected", str(REASON.ROOM_CLOSED))

    servers.run(scenario)


def test_kinds_and_grants(servers: Servers) -> None:
    """Whatever a token says they are is announced; who is hidden is not, and sees the others."""

    async def scenario(server: Server) -> None:
        agent = await server.join("agent", kind="agent")
        kinds = {"sip": 3, "egress": 2, "ingress": 1, "connector": 7, "bridge": 8}
        for kind in kinds:
            await server.join(kind, kind=kind, can_publish=False)
        hidden = await server.join("hidden", hidden=True)
        await agent.reports("participant_active", times=len(kinds))
        there = agent.remote_participants
        assert {each: rtc.ParticipantKind.Name(there[each].kind) for each in kinds} == {
            each: f"PARTICIPANT_KIND_{each.upper()}" for each in kinds
        }
        assert not there["sip"].permissions.can_publish
        assert "hidden" not in there
        assert "agent" in hidden.remote_participants

    servers.run(scenario)


def test_a_token_that_is_none(servers: Servers) -> None:
    """The connect fails, and says why."""

    async def scenario(server: Server) -> None:
        with pytest.raises(rtc.ConnectError) as refused:
            await rtc.Room().connect(server.url, "nonsense")
        assert "401" in refused.value.message

    servers.run(scenario)
