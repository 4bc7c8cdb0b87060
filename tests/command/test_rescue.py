"""firstword.command.rescuer: who is called again, who is not, and what LiveKit, strangers and other rescuers may do meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstword.agent.accounts.claim import checked_claim, signed_claim
from firstword.agent.interruption import RESCUE, is_interrupted, sign
from firstword.command.__main__ import app
from firstword.command.rescuer.livekit_rooms import Answer, LiveKitError, RoomParticipant
from firstword.command.rescuer.renewed_claim import with_renewed_claim
from firstword.command.rescuer.service import RescueEvent
from tests.command.rescued_rooms import AGENT, BEGIN, CALLER, ROOM, SECRET, FakeRooms, Watch

CLAIM_KEY = "k" * 32


def calls(rooms: FakeRooms) -> int:
    """How many agents the rescuers called, marks not counted."""
    return sum(deed == ("dispatch", AGENT) for deed in rooms.asked)


def test_each_event_is_reported() -> None:
    """With LiveKit's ids, and nothing of a name: whose agent died, and how long the caller was without one."""
    rooms, events = FakeRooms(), list[RescueEvent]()
    held, watch = rooms.call(), Watch(rooms, report=events.append)
    watch.looks(10)
    (dispatch,) = held.dispatches
    rooms.dies(held)
    watch.looks(20)
    assert [(each.outcome, each.dispatch) for each in events] == [("seen", dispatch.id), ("rescued", None)]
    assert events[0].alone_s is None
    assert events[1].alone_s is not None
    assert 5.0 <= events[1].alone_s <= 10.0
    assert ROOM not in repr(events)


def test_a_caller_whose_agent_dies_has_another_within_ten_seconds() -> None:
    """The dead one is put out of the room, its dispatch deleted, the new one told that it takes up a call."""
    rooms = FakeRooms()
    held, watch = rooms.call(metadata='{"tenant": "north"}'), Watch(rooms)
    watch.looks(10)
    assert (calls(rooms), watch.gauge("firstword.rescue.rooms")) == (0, {"attended": 1, "alone": 0})
    rooms.dies(held)
    died = rooms.now
    while not calls(rooms):
        watch.looks()
    assert rooms.now - died < 8
    (called,) = rooms.dispatched()
    assert is_interrupted(called.metadata, ROOM, SECRET, now=rooms.now)
    assert json.loads(called.metadata)["tenant"] == "north"
    assert set(held.says) == set(called.agents)
    watch.looks(20)
    assert (calls(rooms), watch.counted) == (1, {"seen": 1, "rescued": 1})


def test_a_dead_agent_that_livekit_drops_at_once_is_replaced_too() -> None:
    """Such as one whose connection was lost."""
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms)
    watch.looks()
    rooms.dies(held)
    rooms.is_dropped(held)
    watch.looks(14)
    assert (calls(rooms), watch.counted) == (1, {"seen": 1, "rescued": 1})


def test_an_agent_that_ends_by_itself_is_not_called_again() -> None:
    """Though its caller stays."""
    rooms = FakeRooms()
    rooms.call()
    watch = Watch(rooms)
    watch.looks(4)
    rooms.ends()
    watch.looks(60)
    assert (rooms.asked, watch.counted) == ([], {})


def test_nobody_is_called_to_a_room_that_no_agent_of_ours_had_entered() -> None:
    """Neither another's agent nor one that no worker took."""
    rooms = FakeRooms()
    held = rooms.call(agent="another")
    rooms.workers = False
    asyncio.run(rooms.dispatch(ROOM, AGENT, ""))
    rooms.asked.clear()
    rooms.dies(held)
    rooms.is_dropped(held)
    Watch(rooms).looks(120)
    assert rooms.asked == []


@pytest.mark.parametrize(
    "alone",
    [
        (),
        (replace(CALLER, caller=False),),  # a supervisor, a recorder, a telephone that rings
    ],
    ids=["nobody", "no caller"],
)
def test_nobody_is_called_where_no_caller_is(alone: tuple[RoomParticipant, ...]) -> None:
    rooms = FakeRooms()
    held, watch = rooms.call(people=alone), Watch(rooms)
    watch.looks(4)
    rooms.dies(held)
    watch.looks(60)
    assert rooms.asked == []
    held.people[CALLER.identity] = CALLER  # who comes back
    watch.looks()
    assert calls(rooms) == 1


def test_another_agent_in_the_room_is_enough() -> None:
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms)
    watch.looks(4)
    rooms.dies(held)
    held.people["other"], held.says["other"] = RoomParticipant("other", BEGIN, caller=False, agent=True), Answer.UNKNOWN
    watch.looks(60)
    assert rooms.asked == []


def test_one_lost_answer_and_a_late_look_are_no_death() -> None:
    """The rescuer itself may have been held up; and an agent that has just left may not have deleted its dispatch yet."""
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms)
    watch.looks()
    (agent,) = held.says
    held.says[agent] = Answer.SILENT
    rooms.now += 60
    watch.looks()
    held.says[agent] = Answer.UNKNOWN
    watch.looks(20)
    held.says[agent] = Answer.SILENT
    watch.looks()
    held.says[agent] = Answer.ALIVE
    watch.looks(4)
    rooms.now += 60
    del held.people[agent], held.says[agent]
    watch.looks()
    assert rooms.asked == []
    held.dispatches.clear()
    watch.looks(60)
    assert rooms.asked == []


def test_an_agent_on_its_way_has_half_a_minute() -> None:
    """A rescuer that starts late can't tell one that died from one whose process is slow."""
    rooms = FakeRooms()
    held = rooms.call()
    rooms.dies(held)
    rooms.is_dropped(held)
    watch = Watch(rooms)
    watch.looks(28)
    assert rooms.asked == []
    watch.looks(6)
    assert calls(rooms) == 1


def test_a_second_death_is_given_up() -> None:
    """Also by a rescuer that started since, and after any number of looks."""
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms)
    watch.looks(2)
    rooms.dies(held)
    watch.looks(10)
    rooms.dies(held)
    watch.looks(60)
    assert (calls(rooms), watch.counted) == (1, {"seen": 1, "rescued": 1, "given_up": 1})
    another = Watch(rooms)
    another.looks(60)
    assert (calls(rooms), another.counted) == (1, {"given_up": 1})


def test_a_second_agent_that_ends_by_itself_is_the_end() -> None:
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms)
    watch.looks(2)
    rooms.dies(held)
    watch.looks(10)
    rooms.ends()
    for each in (watch, Watch(rooms)):
        each.looks(60)
    assert (calls(rooms), watch.counted) == (1, {"seen": 1, "rescued": 1})


@pytest.mark.parametrize("many", [2, 5])
def test_of_many_rescuers_one_acts(many: int) -> None:
    """All look at once; one dispatch is made, and the marks of the others are gone."""
    rooms = FakeRooms()
    held, watches = rooms.call(), [Watch(rooms) for _ in range(many)]

    async def all_look() -> None:
        await asyncio.gather(*(watch.service.look() for watch in watches))

    for look in range(40):
        rooms.now += 2.0
        if look == 2:
            rooms.dies(held)
        asyncio.run(all_look())
    assert calls(rooms) == 1
    assert [each.agent_name for each in held.dispatches] == [RESCUE, AGENT]
    assert sum(watch.counted.get("rescued", 0) for watch in watches) == 1


def test_where_no_worker_takes_the_call_it_is_offered_again() -> None:
    """A worker that was killed may be the only one, and back in a while."""
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms)
    watch.looks(2)
    rooms.dies(held)
    rooms.workers = False
    watch.looks(30)
    assert len(rooms.dispatched()) == 1
    rooms.workers = True
    watch.looks(12)
    assert (len(held.says), watch.counted) == (1, {"seen": 1, "rescued": 1})


def test_where_nobody_comes_the_caller_is_given_up() -> None:
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms)
    watch.looks(2)
    rooms.dies(held)
    rooms.workers = False
    watch.looks(300)
    assert watch.counted == {"seen": 1, "given_up": 1}
    assert calls(rooms) <= 9


def test_a_caller_who_leaves_first_is_no_failure() -> None:
    rooms = FakeRooms()
    watch = Watch(rooms)
    for name in ("one", "two"):
        rooms.dies(rooms.call(name))
    watch.looks(2)
    rooms.workers = False
    watch.looks(10)
    del rooms.held["one"]
    rooms.held["two"].people.clear()
    watch.looks(2)
    assert watch.counted == {"seen": 2, "left": 2}


def test_a_rescue_that_its_rescuer_did_not_finish_is_finished_by_another() -> None:
    """It had marked the room, and was killed."""
    rooms = FakeRooms()
    held = rooms.call()
    word = sign("room", ROOM, SECRET, now=rooms.now, dispatch=held.dispatches[0].id)
    asyncio.run(rooms.dispatch(ROOM, RESCUE, word))
    rooms.asked.clear()
    watch = Watch(rooms)
    watch.looks(2)
    rooms.dies(held)
    watch.looks(16)
    assert rooms.asked == []
    watch.looks(20)
    assert (calls(rooms), len(held.says)) == (1, 1)


def test_a_mark_of_a_stranger_counts_for_nothing() -> None:
    """Whoever asks LiveKit's token endpoint for a room names its agents and their metadata."""
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms)
    for word in (
        "",
        "{}",
        sign("room", ROOM, "another", now=rooms.now),
        sign("room", "elsewhere", SECRET, now=rooms.now),
    ):
        asyncio.run(rooms.dispatch(ROOM, RESCUE, word))
    watch.looks(2)
    rooms.dies(held)
    watch.looks(10)
    assert (calls(rooms), watch.counted) == (1, {"seen": 1, "rescued": 1})


def test_a_dry_run_calls_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "firstword")
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms, dry_run=True)
    watch.looks(2)
    rooms.dies(held)
    watch.looks(60)
    assert (rooms.asked, watch.counted) == ([], {"seen": 1})
    assert [each.getMessage() for each in caplog.records] == [
        "room RM_0: the agent of dispatch AD_1 has died; another one would be called"
    ]


def test_the_log_names_no_room_and_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A line an act, with LiveKit's ids alone."""
    caplog.set_level(logging.DEBUG)
    rooms = FakeRooms()
    held, watch = rooms.call(metadata="Ada's"), Watch(rooms)
    watch.looks(2)
    rooms.dies(held)
    watch.looks(10)
    rooms.dies(held)
    watch.looks(10)
    lines = [each.getMessage() for each in caplog.records if each.name == "firstword"]
    assert len(lines) == 3
    assert not [line for line in lines for word in ("1234567", "ada", "Ada") if word in line]
    assert all("RM_0" in line for line in lines)


def test_a_server_that_is_away_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """One line where it goes, one where it is back; the last look is what an alert goes by."""
    caplog.set_level(logging.INFO, "firstword")
    rooms = FakeRooms()
    held, watch = rooms.call(), Watch(rooms)
    watch.looks(2)
    rooms.dies(held)
    seen = rooms.now
    rooms.away = LiveKitError("no answer", refused=True)
    watch.looks(30)
    assert watch.gauge("firstword.rescue.last_look") == {"": seen}
    rooms.away = None
    watch.looks(10)
    assert calls(rooms) == 1
    assert [each.getMessage() for each in caplog.records][:2] == ["no answer", "LiveKit answers again"]


def test_a_room_that_closes_during_a_look_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """One that fails again is: the others are looked at all the same."""
    caplog.set_level(logging.INFO, "firstword")
    rooms = FakeRooms()
    rooms.call("closing")
    held, watch = rooms.call(), Watch(rooms)
    watch.looks(2)
    rooms.dies(held)
    rooms.closing.add("closing")
    watch.looks(2)
    assert caplog.records == []
    watch.looks(8)
    assert calls(rooms) == 1
    assert caplog.records[0].getMessage() == "1 of 2 rooms can't be looked at: no such room"


def test_metadata_that_is_no_json_object_stays_as_it_is() -> None:
    """It is the agent's own language. The caller is rescued; the agent greets them as it greets anybody."""
    rooms = FakeRooms()
    held, watch = rooms.call(metadata="north"), Watch(rooms)
    watch.looks(2)
    rooms.dies(held)
    watch.looks(10)
    assert [each.metadata for each in rooms.dispatched()] == ["north"]


def test_automatic_dispatch_has_an_empty_name() -> None:
    rooms = FakeRooms()
    held, watch = rooms.call(agent=""), Watch(rooms, names=("",))
    watch.looks(2)
    rooms.dies(held)
    watch.looks(10)
    assert watch.counted == {"seen": 1, "rescued": 1}


CREATED = BEGIN
LATER = BEGIN + 3_000


def claim(account: str, room: str = ROOM, key: str = CLAIM_KEY) -> str:
    return signed_claim(account, room, key, now=CREATED)


def account_in(metadata: str) -> str | None:
    return checked_claim(json.loads(metadata or "{}").get("claim"), ROOM, CLAIM_KEY, LATER).account


def renewed(metadata: str, *claims: str) -> str:
    return with_renewed_claim(metadata, CREATED, [(each, CREATED) for each in claims], ROOM, CLAIM_KEY, now=LATER)


def test_a_claim_that_has_expired_since_is_signed_anew() -> None:
    """The job's, under whatever spelling; else the caller's. Nothing else in the metadata changes."""
    again = renewed(json.dumps({"Claim": claim("1001"), "tenant": "north"}), claim("1002"))
    assert (account_in(again), json.loads(again)["tenant"]) == ("1001", "north")
    assert account_in(renewed("", claim("1002"))) == "1002"


@pytest.mark.parametrize(
    ("metadata", "claims"),
    [
        ("", ()),
        ("north", (claim("1001"),)),
        (json.dumps({"claim": claim("1001", key="x" * 32)}), (claim("1002"),)),
        (json.dumps({"claim": claim("1001", room="another")}), ()),
        ("", (claim("1001"), claim("1002"))),
        (json.dumps({"account": "1001"}), ()),
    ],
)
def test_no_claim_is_made_of_anything_else(metadata: str, claims: tuple[str, ...]) -> None:
    assert renewed(metadata, *claims) == metadata


KEYS = {"LIVEKIT_URL": "ws://127.0.0.1:9", "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "secret" * 6}


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"LIVEKIT_URL": ""}, "LIVEKIT_URL: expected what the workers have"),
        ({"LIVEKIT_URL": "127.0.0.1"}, "expected ws://HOST:PORT"),
    ],
)
def test_what_is_set_wrong_is_said_in_one_line(
    environment: dict[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["rescue"], env={**KEYS, **environment})
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
