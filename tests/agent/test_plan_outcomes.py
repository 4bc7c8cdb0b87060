"""How a start ends, in each phase and in every shape that the flags can give the plan: the shipped plan on virtual time."""

from __future__ import annotations

import asyncio
import itertools
import wave
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from livekit import api, rtc

from firstword.agent.call.limits import End
from firstword.agent.call.presence import ANNOUNCED_WITHIN_S
from firstword.agent.greeting import greeting
from firstword.agent.testing import FakeCaller
from firstword.agent.testing.livekit import FakeAPI
from firstword.telemetry.record import Outcome
from tests.agent.virtual_calls import Ended, VirtualCall, VirtualCalls, shapes, speaking_shapes

LEAVES = 0.120
"""Seconds into the job: before any shape's first word."""
GRACE, PATIENCE = 2.0, 5.0
AWAY = GRACE + ANNOUNCED_WITHIN_S
SORRY = Path(greeting.__file__).parent / "sounds" / "sorry.wav"
MS = 0.001


async def _joined(call: VirtualCall) -> None:
    await call.caller.join()


@dataclass(frozen=True)
class Case:
    """What happens to a call, and what must come of it in every shape."""

    name: str
    scenario: Callable[[VirtualCall], Any]
    outcome: Outcome
    seconds: float | None = None
    """How long the start takes; None where the shape decides."""
    prepare: Callable[[VirtualCall], Awaitable[None] | None] = _joined
    events: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    greeted: bool = False
    """The caller hears the greeting from the first word on, without a gap."""
    begins_anew: bool = False
    """They may have heard the beginning of it before."""
    microphone: bool = True
    token: dict[str, Any] = field(default_factory=dict[str, Any])
    ended: str = ""
    """Why the call ended, as its row says it; empty: as the outcome usually has it."""
    told: bool = False
    """The caller, who is there, hears that the call can't go on, and nothing else."""
    everywhere: bool = True
    """In every shape; else in those that differ in who speaks when."""


async def _listens(call: VirtualCall) -> None:
    await call.hang_up()


async def _nobody(call: VirtualCall) -> None: ...


async def _leaves(call: VirtualCall) -> None:
    await call.at(LEAVES)
    await call.caller.leave()


async def _leaves_while_connecting(call: VirtualCall) -> None:
    await call.at(0.010)
    await call.caller.leave()


async def _returns(call: VirtualCall) -> None:
    await _leaves(call)
    await call.at(1.0)
    await call.caller.join()
    await call.hang_up()


async def _returns_while_connecting(call: VirtualCall) -> None:
    await _leaves_while_connecting(call)
    await call.caller.join()
    await call.hang_up()


async def _returns_too_late(call: VirtualCall) -> None:
    await _leaves(call)
    await call.at(LEAVES + AWAY + 0.1)
    await call.caller.join()
    await asyncio.sleep(1.0)
    await call.caller.leave()


async def _comes_twice(call: VirtualCall) -> None:
    again = FakeCaller(call.livekit)
    await call.at(0.050)
    await again.join()
    await call.heard()
    await asyncio.sleep(1.0)
    await again.leave()


async def _comes_late(call: VirtualCall) -> None:
    await call.at(1.0)
    await call.caller.join()
    await call.at(4.0)
    await call.hang_up()


async def _comes_after_a_recorder(call: VirtualCall) -> None:
    recorder = FakeCaller(call.livekit, identity="recorder", kind="egress", microphone=False)
    await call.at(0.2)
    await recorder.join()
    await call.at(4.0)
    await call.caller.join()
    await call.hang_up()
    await recorder.leave()


async def _is_answered(call: VirtualCall) -> None:
    await call.at(1.0)
    await call.caller.join()
    await call.at(4.0)
    await call.caller.room.local_participant.set_attributes({"sip.callStatus": "active"})
    await call.at(5.0)
    await call.caller.leave()


async def _recorder_alone(call: VirtualCall) -> None:
    recorder = FakeCaller(call.livekit, identity="recorder", kind="egress", microphone=False)
    await recorder.join()
    await call.at(PATIENCE + 1)
    assert not call.livekit.connections("call", "recorder")[0].heard
    await recorder.leave()


async def _deletes_room(call: VirtualCall) -> None:
    await call.at(LEAVES)
    await FakeAPI(call.livekit).room.delete_room(api.DeleteRoomRequest(room="call"))


async def _shuts_down(call: VirtualCall) -> None:
    await call.at(LEAVES)
    call.livekit.rooms["call"].close(rtc.DisconnectReason.SERVER_SHUTDOWN)


def _slow_to_connect(call: VirtualCall) -> None:
    call.livekit.delays.connect = 10.0


async def _mute(call: VirtualCall) -> None:
    await _joined(call)
    call.tts.speaking.first_byte = 60.0


async def _broken(call: VirtualCall) -> None:
    await _joined(call)

    def refuse(**_: object) -> None:
        raise OSError("told to fail")

    call.stt.update_options = refuse


async def _patient(call: VirtualCall) -> None:
    await call.at(10.0)
    assert not call.caller.room.isconnected(), "the caller sits with a mute agent"


PHONE = {"kind": "sip", "attributes": {"sip.callStatus": "ringing"}, "can_update_own_metadata": True}
STAYS = {"departure": 20.0}
"""The room, after its last caller has left."""
RETURNED, SHIPPED, LOST = ("caller.returned",), ("greeting.shipped",), ("room.disconnected",)
WORD = Outcome.FIRST_WORD
ENDS = {
    Outcome.FIRST_WORD: End.HUNG_UP,
    Outcome.ABANDONED: End.HUNG_UP,
    Outcome.NO_CALLER: End.NO_CALLER,
    Outcome.TIMED_OUT: End.TIMED_OUT,
    Outcome.FAILED: "start failed",
}

CASES = (
    # connect
    Case("gone before the agent", _leaves_while_connecting, Outcome.NO_CALLER, 0.510, events=LOST, everywhere=False),
    Case("back before the agent", _returns_while_connecting, WORD, greeted=True, everywhere=False),
    Case("too long to connect", _nobody, Outcome.TIMED_OUT, 1.0, _slow_to_connect, settings={"start_timeout": 1.0}),
    # wait
    Case("nobody comes", _nobody, Outcome.NO_CALLER, 0.050 + PATIENCE, _nobody),
    Case("a recorder comes", _recorder_alone, Outcome.NO_CALLER, 0.050 + PATIENCE, _nobody, everywhere=False),
    Case("a caller after a recorder", _comes_after_a_recorder, WORD, prepare=_nobody, greeted=True),
    Case("announced late", _comes_late, WORD, prepare=_nobody, greeted=True, microphone=False, everywhere=False),
    Case(
        "answered late",
        _is_answered,
        WORD,
        prepare=_nobody,
        greeted=True,
        begins_anew=True,
        token=PHONE,
        everywhere=False,
    ),
    Case("room deleted while waiting", _deletes_room, Outcome.NO_CALLER, LEAVES, _nobody, LOST),
    Case("server gone while waiting", _shuts_down, Outcome.FAILED, LEAVES, _nobody, LOST),
    # greet
    Case("greeted", _listens, WORD, greeted=True),
    Case("gone", _leaves, Outcome.ABANDONED, LEAVES + AWAY, settings=STAYS),
    Case("gone, the room too", _leaves, Outcome.ABANDONED, LEAVES + 0.5, events=LOST, everywhere=False),
    Case("back", _returns, WORD, events=RETURNED, greeted=True, begins_anew=True, settings=STAYS),
    Case(
        "back too late",
        _returns_too_late,
        Outcome.ABANDONED,
        LEAVES + AWAY,
        begins_anew=True,
        settings=STAYS,
        everywhere=False,
    ),
    Case("twice", _comes_twice, WORD, events=RETURNED, greeted=True, begins_anew=True, everywhere=False),
    Case("room deleted", _deletes_room, Outcome.ABANDONED, LEAVES, events=LOST, everywhere=False),
    Case("server gone", _shuts_down, Outcome.FAILED, LEAVES, events=LOST, everywhere=False),
    Case("a task fails", _patient, Outcome.FAILED, None, _broken, ended="start failed: components", told=True),
    Case("too long to speak", _patient, Outcome.TIMED_OUT, None, _mute, settings={"start_timeout": 1.0}, told=True),
    Case("no voice", _listens, WORD, prepare=_mute, events=SHIPPED, greeted=True, everywhere=False),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_shape(virtual_calls: VirtualCalls, case: Case) -> None:
    """The outcome, when it comes, its events, what the caller hears, and why the job ends."""

    async def prepare(call: VirtualCall) -> None:
        call.tts.speaking.character = 0.020  # a short greeting: there are thousands
        if (preparing := case.prepare(call)) is not None:
            await preparing

    for shape in shapes() if case.everywhere else speaking_shapes():
        ended = virtual_calls.run(
            case.scenario,
            shape,
            prepare=prepare,
            microphone=case.microphone,
            token=case.token,
            caller_timeout=PATIENCE,
            return_grace=GRACE,
            **case.settings,
        )
        try:
            _check(case, ended)
        except AssertionError as error:
            raise AssertionError(f"in the shape {shape}: {error}") from error


def _check(case: Case, ended: Ended) -> None:
    assert ended.outcome == case.outcome
    assert tuple(ended.events) == case.events
    if case.seconds is not None:
        assert ended.seconds == pytest.approx(case.seconds, abs=MS)
    if case.greeted:
        spoken = [each for each in ended.heard if each.at > ended.began + ended.seconds - MS]
        assert spoken[0].at - ended.began == pytest.approx(ended.seconds, abs=MS)
        for one, next in itertools.pairwise(spoken):
            assert next.at == pytest.approx(one.at + one.frame.duration, abs=MS)
        assert case.begins_anew or len(spoken) == len(ended.heard)
    elif case.told:
        with wave.open(str(SORRY)) as sorry:
            lasts = sorry.getnframes() / sorry.getframerate()
        assert ended.heard[-1].at - ended.heard[0].at == pytest.approx(lasts, abs=0.1)
    elif not case.begins_anew:
        assert not ended.heard
    assert ended.rows[-1].ended == (case.ended or ENDS[case.outcome])
    assert (ended.rows[-1].first_word is not None) == (case.outcome is Outcome.FIRST_WORD)
