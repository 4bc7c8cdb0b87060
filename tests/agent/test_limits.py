"""What may end a start before its first word, on virtual time: when each limit strikes, and with which outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc

from firstword.agent.call.caller import Caller
from firstword.agent.call.limits import End, Limits
from firstword.agent.call.presence import ANNOUNCED_WITHIN_S
from firstword.agent.call_settings import CallSettings
from firstword.telemetry.plan import Plan
from firstword.telemetry.record import Outcome, Start
from firstword.telemetry.run import Run
from firstword.telemetry.testing import StartupTest
from firstword.telemetry.vocabulary import GREET

START, CALLER, GRACE = 30.0, 300.0, 2.0
Reason = rtc.DisconnectReason
Meanwhile = Callable[[Limits], Coroutine[Any, Any, None]]


class _Room(rtc.EventEmitter[str]):
    """A room with nobody in it yet."""

    def __init__(self) -> None:
        super().__init__()
        self.remote_participants = dict[str, Any]()
        self.connection_state = rtc.ConnectionState.CONN_CONNECTED


@pytest.fixture
def room() -> _Room:
    return _Room()


@pytest.fixture
def ends() -> list[End]:
    """Why the call must end, as the limits say."""
    return []


@pytest.fixture
def start(startup_test: StartupTest, room: _Room, ends: list[End], tmp_path: Path) -> Callable[[Meanwhile], Start]:
    """Runs a plan that takes forever, with limits around it; returns how it ended."""
    plan = Plan("session.startup", phases=(GREET,))

    @plan.first_word
    async def playout() -> None:
        await asyncio.Event().wait()

    plan.check()
    settings = CallSettings(start_timeout=START, caller_timeout=CALLER, return_grace=GRACE)

    def conducted(meanwhile: Meanwhile) -> Start:
        run = startup_test.new_run(plan)
        limits = Limits(run, cast("rtc.Room", room), settings)

        async def conduct() -> Start:
            limits.begin(ends.append)
            other = asyncio.ensure_future(meanwhile(limits))
            try:
                ended = await run.perform()
            finally:
                limits.lift()
            await other
            return ended

        return startup_test.loop.run_until_complete(conduct())

    return conducted


def _seconds(start: Start) -> float:
    return (start.end - start.start) / 1e9


def _arrive(limits: Limits, room: _Room) -> Any:
    participant = SimpleNamespace(identity="a")
    room.remote_participants["a"] = participant
    limits.caller_arrived(Caller(cast("rtc.RemoteParticipant", participant), joined=None))
    return participant


def test_each_stretch_has_its_own_time(start: Callable[[Meanwhile], Start], room: _Room) -> None:
    """To connect, to wait for the caller, to greet: each begins anew, and each has its outcome."""

    async def never_connected(limits: Limits) -> None: ...

    async def nobody_came(limits: Limits) -> None:
        await asyncio.sleep(20)
        limits.connected()

    async def never_greeted(limits: Limits) -> None:
        await nobody_came(limits)
        await asyncio.sleep(250)
        _arrive(limits, room)

    ends = [start(meanwhile) for meanwhile in (never_connected, nobody_came, never_greeted)]
    assert [(each.outcome, _seconds(each)) for each in ends] == [
        (Outcome.TIMED_OUT, START),
        (Outcome.NO_CALLER, 20 + CALLER),
        (Outcome.TIMED_OUT, 270 + START),
    ]


@pytest.mark.parametrize(
    ("reason", "before", "after"),
    [
        (Reason.ROOM_DELETED, Outcome.NO_CALLER, Outcome.ABANDONED),
        (Reason.ROOM_CLOSED, Outcome.NO_CALLER, Outcome.ABANDONED),
        (Reason.PARTICIPANT_REMOVED, Outcome.NO_CALLER, Outcome.FAILED),  # called off
        (Reason.SERVER_SHUTDOWN, Outcome.FAILED, Outcome.FAILED),
        (Reason.DUPLICATE_IDENTITY, Outcome.FAILED, Outcome.FAILED),
    ],
)
def test_a_room_that_is_gone(
    start: Callable[[Meanwhile], Start],
    startup_test: StartupTest,
    room: _Room,
    reason: rtc.DisconnectReason.ValueType,
    before: Outcome,
    after: Outcome,
) -> None:
    """A room that nobody needs any more is no failure; whether there was a caller says which end it is."""

    async def lost(limits: Limits) -> None:
        limits.connected()
        await asyncio.sleep(1)
        room.emit("disconnected", reason)

    async def lost_with_a_caller(limits: Limits) -> None:
        _arrive(limits, room)
        await lost(limits)

    assert start(lost).outcome is before
    assert start(lost_with_a_caller).outcome is after
    roots = [span for span in startup_test.exported() if span.parent is None]
    assert [[event.name for event in root.events] for root in roots] == [["room.disconnected"]] * 2


def test_a_connection_that_is_lost_is_no_caller_who_left(start: Callable[[Meanwhile], Start], room: _Room) -> None:
    """Nobody is seen any more, since the server is gone: the start has failed, and counts as an error."""

    async def lose(limits: Limits) -> None:
        participant = _arrive(limits, room)
        room.connection_state = rtc.ConnectionState.CONN_RECONNECTING
        room.emit("participant_disconnected", participant)

    assert start(lose).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("away", "outcome", "end"),
    [(2.9, Outcome.TIMED_OUT, START), (3.1, Outcome.ABANDONED, 4 + GRACE + ANNOUNCED_WITHIN_S)],
)
def test_a_caller_who_leaves(
    start: Callable[[Meanwhile], Start],
    startup_test: StartupTest,
    room: _Room,
    away: float,
    outcome: Outcome,
    end: float,
) -> None:
    """Back within the grace, the start goes on, and its trace has the return; else it is abandoned when the grace is over."""

    async def leave(limits: Limits) -> None:
        participant = _arrive(limits, room)
        await asyncio.sleep(4)
        room.emit("participant_disconnected", participant)
        await asyncio.sleep(away)
        room.emit("participant_connected", participant)

    ended = start(leave)
    assert (ended.outcome, _seconds(ended)) == (outcome, end)
    (root,) = [span for span in startup_test.exported() if span.parent is None]
    returns = ["caller.returned"] if outcome is Outcome.TIMED_OUT else []
    assert [event.name for event in root.events] == returns


def test_lifted_limits_end_nothing(startup_test: StartupTest, room: _Room, tmp_path: Path) -> None:
    """Once lifted, neither time, nor the caller's leaving, nor the room's end says anything to the run."""
    plan = Plan("session.startup", phases=(GREET,))

    @plan.first_word
    async def playout() -> None:
        await asyncio.sleep(1000)

    async def lift(run: Run) -> None:
        limits = Limits(run, cast("rtc.Room", room), CallSettings())
        limits.begin(lambda _: None)
        participant = _arrive(limits, room)
        await asyncio.sleep(1)
        limits.lift()
        room.emit("participant_disconnected", participant)
        room.emit("disconnected", Reason.SERVER_SHUTDOWN)

    plan.check()
    traced = startup_test.run(plan, meanwhile=lift)
    assert traced.start.outcome is Outcome.FIRST_WORD
    (root,) = [span for span in traced.spans if span.parent is None]
    assert not root.events


def test_nobody_has_arrived(startup_test: StartupTest, room: _Room, tmp_path: Path) -> None:
    """Before the caller is there, whether they are is a question that nobody may ask."""
    plan = Plan("session.startup", phases=(GREET,))

    @plan.first_word
    async def playout() -> None: ...

    plan.check()
    limits = Limits(startup_test.new_run(plan), cast("rtc.Room", room), CallSettings())
    with pytest.raises(RuntimeError, match="nobody has arrived"):
        _ = limits.presence
