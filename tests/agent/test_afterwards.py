"""What hangs or fails around the first word has an end, which the figures of the start do not wait for longer than: on virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit.agents import AgentSession

from firstword.agent import entrypoint, startup
from firstword.agent.account_call import account_ending
from firstword.agent.audio.early_output import EarlyOutput
from firstword.agent.call import playout
from firstword.agent.call.limits import End
from firstword.agent.greeting import greeting
from tests.agent.virtual_calls import TUNED, VirtualCall, VirtualCalls

START_TIMEOUT = 7.0


async def _joined(call: VirtualCall) -> None:
    await call.caller.join()


async def _never(*_: object, **__: object) -> Any:
    await asyncio.Event().wait()


async def _waits(call: VirtualCall) -> None:
    await call.at(100.0)
    if call.caller.room.isconnected():
        await call.caller.leave()


@pytest.mark.parametrize(
    ("where", "what", "seconds", "ended"),
    [
        (startup, "start_background_audio", entrypoint.AFTERWARDS_S, End.HUNG_UP),
        (greeting, "keep", entrypoint.SPOKEN_S, End.HUNG_UP),
        (AgentSession, "start", START_TIMEOUT, "start failed: session"),
    ],
    ids=["background audio", "cache", "session"],
)
def test_what_hangs_after_the_first_word_has_a_deadline(
    virtual_calls: VirtualCalls, monkeypatch: pytest.MonkeyPatch, where: Any, what: str, seconds: float, ended: str
) -> None:
    """The worker learns of the start by then, while the call goes on; without its session the caller is told, and hung up on."""
    sent: list[float] = []

    def send_figures(_: object) -> None:
        sent.append(asyncio.get_running_loop().time())

    monkeypatch.setattr(where, what, _never)
    monkeypatch.setattr(account_ending, "send_figures", send_figures)
    began: list[float] = []

    async def scenario(call: VirtualCall) -> None:
        began.append(call.began)
        await _waits(call)

    call = virtual_calls.run(scenario, TUNED, prepare=_joined, start_timeout=START_TIMEOUT)
    assert call.outcome == "first_word"
    assert sent == [pytest.approx(began[0] + call.seconds + seconds, abs=0.5)]
    assert call.rows[-1].ended == ended


def test_a_room_that_takes_no_sound_is_tried_so_often_and_no_more(
    virtual_calls: VirtualCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time after a longer pause; then the start has failed, long before its timeout."""

    async def refuse(*_: object) -> None:
        raise RuntimeError("told to fail")

    monkeypatch.setattr(EarlyOutput, "push", refuse)
    call = virtual_calls.run(_waits, TUNED, prepare=_joined)
    assert (call.outcome, call.rows[-1].ended) == ("failed", "start failed: playout")
    assert call.events.count("greeting.shipped") == playout.MOST_TRIES + 1
    assert call.seconds == pytest.approx(
        sum(playout.TRY_AGAIN_S * tries for tries in range(playout.MOST_TRIES)), abs=0.5
    )
