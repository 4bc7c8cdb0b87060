"""Callers who leave, come back, come late, or are nobody to greet, with the real worker and real LiveKit clients."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio
from livekit import api

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import GENERIC, Account
from tests.calls.sent import VOICE_TRACK, begun
from tests.calls.spoken import greeting_of, in_one_go
from tests.calls.stage import Actor, Stage
from tests.calls.waiting import PATIENCE

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

ADA = ACCOUNTS[0]


async def _dispatched(stage: Stage, actor: Actor, room: str, **metadata: str) -> str:
    """Call the agent into a room by the API, as an outbound call does; the room's sid."""
    await stage.rooms.room.create_room(api.CreateRoomRequest(name=room, departure_timeout=1, empty_timeout=60))
    await stage.rooms.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(agent_name=actor.name, room=room, metadata=json.dumps(metadata))
    )
    (listed,) = (await stage.rooms.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms
    return listed.sid


async def test_gone_before_the_agent(slow: Actor) -> None:
    """A caller who hangs up at once is waited for no longer than their room lasts; the job ends by itself."""
    caller = slow.caller(account=ADA.id)
    await caller.connect()
    sid = await caller.room.sid
    await caller.leave()
    start = await slow.trace(sid)
    assert start.outcome in ("no_caller", "abandoned")  # by whether the agent still saw them
    await slow.rests()


async def test_gone_before_the_first_word(slow: Actor) -> None:
    """A caller who leaves for good while the greeting is prepared abandons the start; all is released, the job ends."""
    room = slow.room()
    caller = slow.caller(room, account=ADA.id)
    await caller.connect()
    sid = await caller.room.sid
    await caller.is_seen()
    await caller.leave()
    start = await slow.trace(sid)
    assert start.outcome == "abandoned"
    assert "startup.ttfw" not in start.root.attributes
    assert {"connect", "wait", "greet"} <= set(start.names)
    assert slow.takes(room) == []
    await slow.rests()


@pytest_asyncio.fixture(params=["baseline", "tuned"], loop_scope="session")
async def first_call(request: pytest.FixtureRequest, slow: Actor, slow_tuned: Actor) -> tuple[Actor, Account]:
    """A worker, and an account whose greeting it can't have at hand: who leaves meanwhile misses it."""
    actor = {"baseline": slow, "tuned": slow_tuned}[request.param]
    return actor, await actor.stranger()


@pytest.mark.parametrize("seen", [False, True], ids=["before the agent saw them", "afterwards"])
async def test_back_before_the_session(first_call: tuple[Actor, Account], seen: bool) -> None:
    """A caller who leaves when the agent has come, and is back in time, is greeted by the same start."""
    actor, account = first_call
    caller = actor.caller(account=account.id, departure_timeout=20)
    await caller.connect()
    sid = await caller.room.sid
    await caller.meets_agent()
    if seen:
        await caller.is_seen()
    await caller.leave()
    await caller.connect()
    await caller.hear(PATIENCE)
    await caller.reads(account.name)
    await caller.leave()
    start = await actor.trace(sid)
    assert start.outcome == "first_word"
    assert "caller.returned" in start.root.events or not seen


async def test_back_while_the_agent_connects(first_call: tuple[Actor, Account]) -> None:
    """A caller who leaves before the agent is there, and is back in time, is greeted like any other."""
    actor, account = first_call
    caller = actor.caller(account=account.id, departure_timeout=20)
    await caller.connect()
    sid = await caller.room.sid
    await caller.leave()
    await caller.connect()
    await caller.reads(account.name)
    await caller.leave()
    assert (await actor.trace(sid)).outcome == "first_word"


async def test_back_after_subscribing(first_call: tuple[Actor, Account]) -> None:
    """A caller who had the agent's track already and comes back hears the greeting from its beginning, on a new subscription."""
    actor, account = first_call
    caller = actor.caller(account=account.id, departure_timeout=20)
    await caller.connect()
    sid = await caller.room.sid
    await caller.subscribes()
    await caller.leave()
    since = time.monotonic()
    await caller.connect()
    await actor.says(caller, greeting_of(account), since=since)
    await caller.reads(account.name)
    await caller.leave()
    start = await actor.trace(sid)
    assert start.outcome == "first_word"
    assert "caller.returned" in start.root.events


async def test_a_first_caller_who_speaks_at_once(slow_tuned: Actor) -> None:
    """The first answer waits for the rest of the account: it is the full assistant's."""
    caller = slow_tuned.caller(account=(await slow_tuned.stranger()).id)
    await caller.connect()
    await caller.hear(PATIENCE)
    await caller.say(500, 1.5)
    await caller.reads("I have 3 tools")
    await caller.leave()
    assert "I have 3 tools" in next(text for text in caller.texts if "You said: " in text)


async def test_keys_pressed_before_the_first_word(slow_tuned: Actor) -> None:
    """What handles them comes after the first word; what was pressed meanwhile reaches it, in order, and each is answered."""
    caller = slow_tuned.caller(account=(await slow_tuned.stranger()).id)
    await caller.connect()
    await caller.meets_agent()
    for digit in "12":
        await caller.room.local_participant.publish_dtmf(code=int(digit), digit=digit)
    assert not caller.heard_anything
    await caller.reads("You said: (pressed 2 on the telephone)")
    await caller.leave()
    assert re.findall(r"You said: \(pressed (\d)", " ".join(caller.texts)) == ["1", "2"]


async def test_caller_after_the_agent(stage: Stage, slow: Actor) -> None:
    """An agent that is there first greets the caller who comes; waiting for them is no part of the time to first word."""
    room = slow.room()
    sid = await _dispatched(stage, slow, room, account=ADA.id)
    await _until(stage, room, lambda participant: participant.state == api.ParticipantInfo.ACTIVE)
    caller = stage.caller(room)
    await caller.connect()
    await caller.hear(PATIENCE)
    start = await slow.trace(sid)
    await caller.leave()
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.dispatch"] == "ahead"
    assert start.root.attributes["startup.ttfw"] < start.root.attributes["startup.raw"]
    assert "critical absent caller" in start.names


async def test_nobody_comes(stage: Stage, slow: Actor) -> None:
    """A recorder alone in the room is nobody to greet: after the caller's time the job ends, without an error."""
    room = slow.room()
    sid = await _dispatched(stage, slow, room)
    recorder = stage.caller(room, kind="egress", identity="recorder")
    await recorder.connect()
    start = await slow.trace(sid)
    await recorder.leave()
    assert slow.takes(room) == []
    assert start.outcome == "no_caller"
    assert "error.type" not in start.root.attributes
    assert not start.root.attributes.get("startup.slow")


async def test_agent_called_late(stage: Stage, slow: Actor) -> None:
    """An agent called to a running conversation counts from its own call, not from the caller's joining."""
    room = slow.room()
    caller = stage.caller(room)
    await caller.connect()
    await asyncio.sleep(1.2)
    sid = await _dispatched(stage, slow, room)
    await caller.hear(PATIENCE)
    start = await slow.trace(sid)
    await caller.leave()
    assert start.root.attributes["startup.dispatch"] == "late"
    assert start.root.attributes["startup.ttfw"] == pytest.approx(start.root.attributes["startup.raw"])


async def test_telephone(stage: Stage, tuned: Actor) -> None:
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
    assert start.root.attributes["startup.ttfw"] < start.root.attributes["startup.raw"]
    assert start.root.attributes["lk.participant_kind"] == "PARTICIPANT_KIND_SIP"


async def _until(stage: Stage, room: str, holds: Callable[[api.ParticipantInfo], bool]) -> None:
    """Wait until this holds for somebody in the room, as the server sees it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            there = await stage.rooms.room.list_participants(api.ListParticipantsRequest(room=room))
            if any(map(holds, there.participants)):
                return
            await asyncio.sleep(0.05)


def _publishes(participant: api.ParticipantInfo) -> bool:
    return any(track.name == VOICE_TRACK for track in participant.tracks)


async def test_the_voice_is_there_before_the_caller(stage: Stage, tuned: Actor) -> None:
    """An agent that is there first has published its voice, and says nothing until the caller listens."""
    room = tuned.room()
    sid = await _dispatched(stage, tuned, room, account=ADA.id)
    await _until(stage, room, _publishes)
    caller = stage.caller(room)
    await caller.connect()
    await tuned.says(caller, greeting_of(ADA))
    await caller.leave()
    start = await tuned.trace(sid)
    assert start.root.attributes["startup.dispatch"] == "ahead"
    assert start["voice"].end < start["caller"].end


async def test_a_recorder_that_is_there_first(stage: Stage, tuned: Actor) -> None:
    """It is no caller, though it subscribes: the caller who comes later hears the greeting from its beginning."""
    room = tuned.room()
    sid = await _dispatched(stage, tuned, room, account=ADA.id)
    await _until(stage, room, _publishes)
    recorder, caller = stage.caller(room, kind="egress", identity="recorder"), stage.caller(room)
    await recorder.connect()
    await recorder.subscribes()
    await asyncio.sleep(1)
    await caller.connect()
    await tuned.says(caller, greeting_of(ADA))
    await asyncio.gather(caller.leave(), recorder.leave())
    start = await tuned.trace(sid)
    assert start.outcome == "first_word"
    assert start.root.attributes["lk.participant_kind"] == "PARTICIPANT_KIND_STANDARD"


async def test_a_telephone_that_rings_with_the_agent_there(stage: Stage, tuned: Actor) -> None:
    """An outbound call: what was begun before LiveKit said who had subscribed ends at once; all is said when it is answered."""
    room = tuned.room()
    sid = await _dispatched(stage, tuned, room, account=ADA.id)
    await _until(stage, room, _publishes)
    caller = stage.caller(room, kind="sip", may_update=True, attributes={"sip.callStatus": "ringing"})
    await caller.connect()
    await caller.subscribes()
    await asyncio.sleep(1)
    since = time.monotonic()
    await caller.room.local_participant.set_attributes({"sip.callStatus": "active"})
    await tuned.says(caller, greeting_of(ADA), since=since)
    await caller.leave()
    start = await tuned.trace(sid)
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.ttfw"] < start.root.attributes["startup.raw"]
    *stopped, _ = tuned.takes(room)
    assert all(map(begun(in_one_go(ADA)), stopped))


async def test_two_callers(tuned: Actor, stage: Stage) -> None:
    """A second caller hears the greeting too; the start is the first one's."""
    room = tuned.room()
    first, second = tuned.caller(room, account=ADA.id), stage.caller(room, identity="second")
    await first.connect()
    await second.connect()
    await asyncio.gather(first.hear(PATIENCE), second.hear(PATIENCE))
    start = await tuned.trace(await first.room.sid)
    await asyncio.gather(first.leave(), second.leave())
    assert start.outcome == "first_word"


@pytest.mark.parametrize(
    ("token", "says", "result", "events"),
    [
        pytest.param({"metadata": "{not json"}, GENERIC.greeting, "unknown", ["account.rejected"], id="not JSON"),
        pytest.param({"account": "nobody"}, GENERIC.greeting, "unknown", [], id="an account nobody knows"),
        pytest.param(
            {"attributes": {"firstword.account": ADA.id}, "may_update": True},
            GENERIC.greeting,
            "unknown",
            ["account.rejected"],
            id="an account that the caller may have written",
        ),
        pytest.param(
            {"attributes": {"firstword.account": ADA.id}},
            ADA.name,
            "hit",
            [],
            id="an account by the token's attributes",
        ),
    ],
)
async def test_whose_account(tuned: Actor, token: dict[str, Any], says: str, result: str, events: list[str]) -> None:
    """Only an account that the caller can't have chosen is greeted by name; the call goes on in any case."""
    caller = tuned.caller(**token)
    await caller.connect()
    sid = await caller.room.sid
    await caller.reads(says)
    await caller.leave()
    start = await tuned.trace(sid)
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.account.result"] == result
    assert [event for event in start.root.events if not event.startswith("job.")] == events
