"""A conversation that LiveKit gives up is excused: the shipped plan on virtual time, with LiveKit's own tries and waits."""

from __future__ import annotations

import asyncio

import pytest

from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.audio.splice import samples_of
from firstword.agent.greeting.greeting import shipped_apology
from firstword.agent.testing.participant import HeardFrame
from tests.agent.virtual_calls import BASELINE, TUNED, Shape, VirtualCall, VirtualCalls

BOTH = pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["a track of its own", "the voice that is there"])
LONGEST = 120.0
"""Seconds in which LiveKit gives up whatever fails all the time."""


async def _given_up(call: VirtualCall, *, asks: bool) -> None:
    """Wait until the agent has hung up; asks: with a new question every ten seconds."""
    await call.heard()
    last = asyncio.get_running_loop().time() + LONGEST
    while call.caller.room.isconnected():
        assert asyncio.get_running_loop().time() < last, "the caller sits with an agent that can't go on"
        if asks:
            await call.caller.room.local_participant.send_text("Hello?", topic="lk.chat")
        await asyncio.sleep(10)


@BOTH
@pytest.mark.parametrize("part", ["stt", "llm"])
def test_a_conversation_that_fails_is_excused(virtual_calls: VirtualCalls, shape: Shape, part: str) -> None:
    """The caller is greeted, and then told that the call can't go on; it is over, and its row says what failed."""
    heard: list[HeardFrame] = []

    async def prepare(call: VirtualCall) -> None:
        await call.caller.join()
        call.stt.fails, call.llm.fails = part == "stt", part == "llm"

    async def scenario(call: VirtualCall) -> None:
        await _given_up(call, asks=part == "llm")
        heard.extend(call.caller.heard)

    ended = virtual_calls.run(scenario, shape, prepare=prepare)
    assert ended.outcome == "first_word"
    assert ended.rows[-1].ended == f"conversation failed: {part}_error"
    sorry = samples_of(asyncio.run(shipped_apology().whole()), SAMPLE_RATE)
    assert sorry.tobytes() in b"".join(bytes(each.frame.data) for each in heard)
