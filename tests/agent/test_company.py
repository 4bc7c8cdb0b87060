"""Who is greeted, heard and hung up on when others are in the room: the shipped plan on virtual time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from livekit import api

from firstword.agent.call.limits import End
from firstword.agent.call.presence import ANNOUNCED_WITHIN_S
from firstword.agent.conversation.components import INTERRUPTIBLE_AFTER
from firstword.agent.greeting.text import greeting_text
from firstword.agent.testing import FakeCaller
from firstword.agent.testing.livekit import FakeAPI
from firstword.agent.testing.providers import Speaking
from firstword.telemetry.record import Outcome
from tests.agent.virtual_calls import ADA, BASELINE, TUNED, Shape, VirtualCall, VirtualCalls

GRACE = 5.0
PROFILES = pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["baseline", "tuned"])
MONITOR: dict[str, Any] = {"can_publish": False}
AVATAR: dict[str, Any] = {"attributes": {"lk.publish_on_behalf": "agent"}}


async def _nobody(_: VirtualCall) -> None: ...


def _other(call: VirtualCall, name: str, *, microphone: bool = False, **token: Any) -> FakeCaller:
    return FakeCaller(call.livekit, identity=name, microphone=microphone, **token)


def _heard(call: VirtualCall, name: str) -> float:
    """Seconds of the agent's voice that reached somebody."""
    connections = call.livekit.connections("call", name)
    return sum(each.frame.duration for one in connections for each in one.heard if each.track == "roomio_audio")


@PROFILES
@pytest.mark.parametrize("company", [MONITOR, AVATAR, {"kind": "egress"}, {"kind": "agent"}], ids=str)
def test_who_is_there_first_is_not_taken_for_the_caller(
    virtual_calls: VirtualCalls, shape: Shape, company: dict[str, Any]
) -> None:
    """A supervisor, an avatar, a recorder, another agent: the caller who comes later is greeted, heard and waited for."""

    async def scenario(call: VirtualCall) -> None:
        other = _other(call, "other", **company)
        await other.join()
        await call.at(1.0)
        assert _heard(call, "other") == 0
        await call.caller.join()
        await call.heard()
        await asyncio.sleep(INTERRUPTIBLE_AFTER + 0.2)
        await call.caller.say(1.0)
        await asyncio.sleep(1.0)
        assert call.stt.voiced == pytest.approx(1.0, abs=0.1)
        await call.caller.leave()

    ended = virtual_calls.run(scenario, shape, prepare=_nobody)
    assert ended.outcome == Outcome.FIRST_WORD
    assert ended.rows[-1].ended == End.HUNG_UP


@PROFILES
@pytest.mark.parametrize("returns", [False, True], ids=["comes", "comes back"])
@pytest.mark.parametrize("monitor_at", [0.0, 0.3], ids=["announced at once", "announced with the caller"])
def test_a_supervisor_who_hears_first_costs_the_caller_nothing(
    virtual_calls: VirtualCalls, shape: Shape, returns: bool, monitor_at: float
) -> None:
    """Their subscription says nothing of the caller, who is announced before they can hear: they hear all of it."""

    async def scenario(call: VirtualCall) -> None:
        if returns:
            await call.at(0.2)
            await call.caller.leave()
        monitor = _other(call, "monitor", **MONITOR)
        await call.at(monitor_at)
        await monitor.join()
        await call.at(2.5)  # LiveKit announces who publishes nothing every three seconds
        call.livekit.delays.media = 2.0
        await call.caller.join()
        await call.heard()
        await asyncio.sleep(10)
        await asyncio.gather(call.caller.leave(), monitor.leave())

    async def prepare(call: VirtualCall) -> None:
        call.store.read = 3.05 if shape is TUNED or returns else 0.1  # the greeting is ready before they can hear
        if returns:
            await call.caller.join()

    ended = virtual_calls.run(
        scenario, shape, prepare=prepare, microphone=False, departure=20.0, account_deadline=9.0, store_deadline=9.0
    )
    lasts = len(greeting_text(ADA, ended.began).text) * Speaking().character
    assert sum(each.frame.duration for each in ended.heard) == pytest.approx(lasts, abs=0.1)


@pytest.mark.parametrize("kind", ["connector", "bridge"])
def test_whoever_comes_another_way_is_greeted(
    virtual_calls: VirtualCalls, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """WhatsApp and Twilio come as connectors; what LiveKit's agents do not expect is greeted and warned about."""
    with caplog.at_level(logging.WARNING, "firstword"):
        ended = virtual_calls.run(VirtualCall.hang_up, TUNED, prepare=_join, token={"kind": kind})
    assert ended.outcome == Outcome.FIRST_WORD
    warned = [record.message for record in caplog.records if "kind" in record.message]
    assert bool(warned) is (kind == "bridge")


@PROFILES
def test_a_supervisor_alone_is_greeted_after_a_while(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """Nobody else comes; the trace says whom it greeted."""

    async def scenario(call: VirtualCall) -> None:
        await call.at(2.9)
        assert not call.caller.heard
        await call.hang_up()

    ended = virtual_calls.run(scenario, shape, prepare=_join, token=MONITOR, microphone=False)
    assert (ended.outcome, ended.events) == (Outcome.FIRST_WORD, ["caller.listener"])


@PROFILES
def test_a_telephone_without_a_status_is_greeted(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """Two seconds after it joined; another SIP service keeps no `sip.callStatus`."""
    ended = virtual_calls.run(VirtualCall.hang_up, shape, prepare=_join, token={"kind": "sip"})
    assert (ended.outcome, ended.events) == (Outcome.FIRST_WORD, ["caller.status_missing"])
    assert 1.9 < ended.ttfw < 2.6


@PROFILES
@pytest.mark.parametrize("company", [MONITOR, AVATAR, {}], ids=["monitor", "avatar", "colleague"])
def test_the_call_ends_with_its_caller(virtual_calls: VirtualCalls, shape: Shape, company: dict[str, Any]) -> None:
    """Whoever stays; the room goes when only helpers are left, so that it is made anew, with an agent, for who comes later."""
    ends: dict[str, float] = {}

    async def scenario(call: VirtualCall) -> None:
        await call.heard()
        other = _other(call, "other", **company)
        await other.join()
        await call.caller.leave()
        left = asyncio.get_running_loop().time()
        agent = call.job.context.room
        while agent.isconnected():  # noqa: ASYNC110 - on virtual time it costs nothing
            await asyncio.sleep(0.010)
        ends["after"] = asyncio.get_running_loop().time() - left
        assert other.room.isconnected() is (not company)
        await other.leave()

    ended = virtual_calls.run(scenario, shape, prepare=_join, departure=60.0, return_grace=GRACE)
    assert ended.rows[-1].ended == End.HUNG_UP
    assert GRACE + ANNOUNCED_WITHIN_S < ends["after"] < 2 * GRACE


@PROFILES
def test_who_has_a_microphone_is_listened_to(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """The first caller has none; the second one who speaks is heard from then on, and the call is theirs."""

    async def scenario(call: VirtualCall) -> None:
        await call.heard()
        other = _other(call, "other", microphone=True)
        await other.join()
        await asyncio.sleep(3)
        await call.caller.leave()
        await other.say(1.0)
        await asyncio.sleep(20)
        assert call.stt.voiced == pytest.approx(1.0, abs=0.1)
        assert call.job.context.room.isconnected()
        await other.leave()

    ended = virtual_calls.run(scenario, shape, prepare=_join, microphone=False, departure=60.0)
    assert ended.rows[-1].ended == End.HUNG_UP


@PROFILES
def test_a_call_has_an_end(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """After FIRSTWORD_MAX_CALL the caller is out of the room."""

    async def scenario(call: VirtualCall) -> None:
        await call.at(61.0)
        assert not call.caller.room.isconnected()

    ended = virtual_calls.run(scenario, shape, prepare=_join, max_call=60.0)
    assert ended.rows[-1].ended == End.TOO_LONG


@PROFILES
def test_called_off_while_nobody_is_there(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """Who sends the agent away before a caller came has no failed call."""

    async def scenario(call: VirtualCall) -> None:
        await call.at(1.0)
        removal = api.RoomParticipantIdentity(room="call", identity="agent")
        await FakeAPI(call.livekit).room.remove_participant(removal)

    ended = virtual_calls.run(scenario, shape, prepare=_nobody)
    assert (ended.outcome, ended.rows[-1].ended) == (Outcome.NO_CALLER, End.CALLED_OFF)


async def _join(call: VirtualCall) -> None:
    await call.caller.join()
