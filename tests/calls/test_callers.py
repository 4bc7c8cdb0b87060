"""Callers who come back, come late or by telephone, with the real worker and real LiveKit clients.

What else callers do is tried on virtual time (tests/agent/test_plan_outcomes.py and its neighbours); these hold it to the server.
"""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from livekit import api, rtc

from firstword.agent.accounts.examples import ACCOUNTS
from tests.calls.spoken import greeting_of
from tests.calls.waiting import PATIENCE, until
from tests.calls.workers import CallServers, WorkerUnderTest

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

ADA = ACCOUNTS[0]


async def _dispatched(servers: CallServers, worker: WorkerUnderTest, room: str, **metadata: str) -> str:
    """Call the agent into a room by the API, as an outbound call does; the room's sid."""
    await servers.rooms.room.create_room(api.CreateRoomRequest(name=room, departure_timeout=1, empty_timeout=60))
    await servers.rooms.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(agent_name=worker.name, room=room, metadata=json.dumps(metadata))
    )
    (listed,) = (await servers.rooms.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms
    return listed.sid


async def test_back_after_subscribing(slow_tuned: WorkerUnderTest) -> None:
    """A caller who had the agent's track already and comes back hears the greeting from its beginning, on a new subscription."""
    account = await slow_tuned.stranger()
    caller = slow_tuned.caller(account=account.id, departure_timeout=20)
    await caller.connect()
    sid = await caller.room.sid
    await caller.subscribes()
    await caller.leave()
    since = time.monotonic()
    await caller.connect()
    await slow_tuned.says(caller, greeting_of(account), since=since)
    await caller.reads(account.name)
    await caller.leave()
    start = await slow_tuned.trace(sid)
    assert start.outcome == "first_word"
    assert "caller.returned" in start.root.events


async def test_a_first_caller_who_speaks_at_once(slow_tuned: WorkerUnderTest) -> None:
    """The first answer waits for the rest of the account: it is the full assistant's."""
    caller = slow_tuned.caller(account=(await slow_tuned.stranger()).id)
    await caller.connect()
    await caller.hear(PATIENCE)
    await caller.say(500, 1.5)
    await caller.reads("I have 3 tools")
    await caller.leave()
    assert "I have 3 tools" in next(text for text in caller.texts if "You said: " in text)


async def test_caller_after_the_agent(servers: CallServers, slow: WorkerUnderTest) -> None:
    """An agent that is there first greets the caller who comes; waiting for them is no part of the time to first word."""
    room = slow.room()
    sid = await _dispatched(servers, slow, room, account=ADA.id)
    await slow.there(room)
    caller = servers.caller(room)
    await caller.connect()
    await caller.hear(PATIENCE)
    start = await slow.trace(sid)
    await caller.leave()
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.dispatch"] == "ahead"
    assert start.root.attributes["startup.ttfw"] < start.root.attributes["startup.duration"]
    assert "critical absent caller" in start.names


async def test_telephone(servers: CallServers, tuned: WorkerUnderTest) -> None:
    """A telephone is greeted once it is answered, and its time to first word begins there."""
    caller = tuned.caller(
        kind="sip", may_update=True, attributes={"sip.callStatus": "ringing", "sip.phoneNumber": ADA.id}
    )
    await caller.connect()
    sid = await caller.room.sid
    await caller.subscribes()
    await asyncio.sleep(1)
    assert tuned.takes(caller.room.name) == []
    await caller.room.local_participant.set_attributes({"sip.callStatus": "active"})
    await caller.reads(ADA.name)
    await caller.leave()
    start = await tuned.trace(sid)
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.ttfw"] < start.root.attributes["startup.duration"]
    assert start.root.attributes["lk.participant_kind"] == "PARTICIPANT_KIND_SIP"


@pytest.mark.soak
async def test_the_assistant_hangs_up_while_a_colleague_stays(servers: CallServers, tuned: WorkerUnderTest) -> None:
    """By the server's own rights: the caller is removed, the agent goes, and the room with the colleague stays."""
    room, told = tuned.room(), list[rtc.DisconnectReason.ValueType]()
    caller, colleague = tuned.caller(room, account=ADA.id), servers.caller(room, identity="colleague")
    await caller.connect()
    try:
        await caller.reads(ADA.name)
        await caller.silence()
        await colleague.connect()
        caller.room.on("disconnected", told.append)
        await caller.room.local_participant.send_text("Please end this call.", topic="lk.chat")
        await until(lambda: bool(told) and not colleague.room.remote_participants)
        assert told == [rtc.DisconnectReason.PARTICIPANT_REMOVED]
        assert colleague.room.isconnected()
    finally:
        await asyncio.gather(caller.leave(), colleague.leave())
