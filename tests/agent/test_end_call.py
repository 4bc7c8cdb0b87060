"""The assistant ends the call: the caller hears its last word and is out of the room, whoever else is there; on virtual time."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from livekit import rtc

from firstword.agent.call.limits import End
from firstword.agent.testing import FakeCaller
from tests.agent.virtual_calls import BASELINE, TUNED, Shape, VirtualCall, VirtualCalls

GONE = rtc.DisconnectReason
FAREWELL = "Goodbye, and thank you for calling."


async def _joined(call: VirtualCall) -> None:
    await call.caller.join()
    call.tts.speaking.character = 0.020


@pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["baseline", "tuned"])
@pytest.mark.parametrize(
    ("company", "caller_told", "company_told"),
    [
        pytest.param(None, GONE.ROOM_DELETED, None, id="alone"),
        pytest.param({"can_publish": False}, GONE.ROOM_DELETED, GONE.ROOM_DELETED, id="a supervisor"),
        pytest.param({}, GONE.PARTICIPANT_REMOVED, None, id="a colleague"),
    ],
)
def test_the_caller_is_hung_up_on(
    virtual_calls: VirtualCalls,
    shape: Shape,
    company: dict[str, Any] | None,
    caller_told: int,
    company_told: int | None,
) -> None:
    """A room with nobody but helpers is deleted; a colleague stays in it, and the agent leaves either way."""
    told: dict[str, int] = {}

    async def scenario(call: VirtualCall) -> None:
        await call.heard()
        others = [] if company is None else [FakeCaller(call.livekit, identity="other", microphone=False, **company)]
        for each in others:
            await each.join()
        for name, each in zip(("caller", "other"), (call.caller, *others), strict=False):
            each.room.on("disconnected", partial(told.__setitem__, name))
        await call.at(5.0)
        call.llm.answer, call.llm.calls = FAREWELL, [("end_call", "{}")]
        await call.caller.room.local_participant.send_text("That is all.", topic="lk.chat")
        await call.at(20.0)
        assert "agent" not in call.livekit.rooms["call"].participants
        for each in others:
            assert each.room.isconnected() is (company_told is None)
            await each.leave()

    ended = virtual_calls.run(scenario, shape, prepare=_joined, departure=60.0)
    assert told["caller"] == caller_told
    assert company_told is None or told["other"] == company_told
    assert ended.rows[-1].ended == End.BY_ASSISTANT
    last = [each for each in ended.heard if each.at > ended.began + 5.0]
    assert sum(each.frame.duration for each in last) == pytest.approx(len(FAREWELL) * 0.020, abs=0.1)


@pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["baseline", "tuned"])
def test_an_assistant_that_says_nothing_is_asked_for_a_farewell(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """Else the line goes dead without a word."""

    async def scenario(call: VirtualCall) -> None:
        await call.heard()
        await call.at(5.0)
        call.llm.answer, call.llm.calls = "", [("end_call", "{}")]
        await call.caller.room.local_participant.send_text("That is all.", topic="lk.chat")
        while not call.llm.questions:  # noqa: ASYNC110 - on virtual time it costs nothing
            await asyncio.sleep(0.010)
        await asyncio.sleep(0.100)
        call.llm.answer = FAREWELL
        await call.at(20.0)
        assert not call.caller.room.isconnected()

    ended = virtual_calls.run(scenario, shape, prepare=_joined, departure=60.0)
    assert ended.rows[-1].ended == End.BY_ASSISTANT
    last = [each for each in ended.heard if each.at > ended.began + 5.0]
    assert sum(each.frame.duration for each in last) == pytest.approx(len(FAREWELL) * 0.020, abs=0.1)
