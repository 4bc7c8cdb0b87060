"""How the greeting is said, by `speak` on the voice and by `say` in the session, with exact times: the shipped plan on virtual time."""

from __future__ import annotations

import asyncio
import time
import wave
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files

import pytest
from livekit import rtc

from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.audio.splice import samples_of
from firstword.agent.flags.improvements import Improvement
from firstword.agent.greeting.greeting import make_ahead, shipped_audio
from firstword.agent.greeting.text import greeting_text
from firstword.agent.testing.participant import HeardFrame
from firstword.agent.testing.providers import Speaking
from tests.agent.virtual_calls import ADA, BASELINE, TUNED, Scenario, Shape, VirtualCall, VirtualCalls
from tests.agent.virtual_calls import VOICE as VOICE_TRACK

MS = 0.001
CONNECT, READ, VOICE, BACKGROUND, LOOK_UP = 0.050, 0.100, 0.100, 0.050, 0.001
"""Seconds that the server, the store, the TTS, the background's sound and a cache take."""
FIRST_TOKEN = 0.200
"""Seconds that the LLM takes."""


async def _joined(call: VirtualCall) -> None:
    await call.caller.join()


async def _hears_all(call: VirtualCall) -> None:
    await call.hang_up(10.0)


def _seconds(heard: Sequence[HeardFrame]) -> float:
    return sum(each.frame.duration for each in heard)


def _seconds_of_shipped() -> float:
    with wave.open(str(files("firstword.agent.greeting") / "sounds" / "hello.wav"), "rb") as file:
        return file.getnframes() / file.getframerate()


def _with(*on: Improvement) -> Shape:
    return Shape(frozenset(on), metadata=True)


PARALLEL, DEFERRED = Improvement.PARALLEL_INIT, Improvement.DEFERRED_SETUP
SMART, LIGHT = Improvement.SMART_GREETING, Improvement.LIGHT_CONNECT


@pytest.mark.parametrize(
    ("shape", "seconds"),
    [
        pytest.param(BASELINE, CONNECT + READ + BACKGROUND + READ + READ + VOICE, id="baseline"),
        pytest.param(_with(DEFERRED), CONNECT + READ + VOICE, id="deferred-setup"),
        pytest.param(_with(PARALLEL), READ + READ + VOICE, id="parallel-init"),
        pytest.param(_with(PARALLEL, DEFERRED), READ + VOICE, id="both"),
        pytest.param(_with(PARALLEL, DEFERRED, SMART), READ + 2 * LOOK_UP + VOICE, id="and smart-greeting"),
        pytest.param(TUNED, READ + 3 * LOOK_UP + VOICE, id="tuned"),
    ],
)
def test_time_to_first_word(virtual_calls: VirtualCalls, shape: Shape, seconds: float) -> None:
    """It is the sum of what is waited for one after the other, and nothing else: in `playout`, the voice alone."""
    ended = virtual_calls.run(_hears_all, shape, prepare=_joined)
    assert ended.seconds == pytest.approx(seconds, abs=MS)
    assert ended.heard[0].at - ended.began == pytest.approx(seconds, abs=MS)


@pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["say", "speak"])
def test_all_of_it_is_said_once(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """Through the hand-over to the session, too: as long as its text, without a gap."""
    ended = virtual_calls.run(_hears_all, shape, prepare=_joined)
    text = greeting_text(ADA, ended.began).text
    character = Speaking().character
    # the session lets the TTS say sentence by sentence, without the blank between them
    assert _seconds(ended.heard) == pytest.approx(len(text) * character, abs=character + MS)
    first, last = ended.heard[0], ended.heard[-1]
    assert last.at + last.frame.duration - first.at == pytest.approx(_seconds(ended.heard), abs=MS)


@pytest.mark.parametrize(
    ("shape", "seconds"),
    [
        pytest.param(BASELINE, CONNECT + READ + BACKGROUND + READ + READ, id="say"),
        pytest.param(TUNED, READ + 3 * LOOK_UP, id="speak"),
    ],
)
def test_a_voice_that_fails(virtual_calls: VirtualCalls, shape: Shape, seconds: float) -> None:
    """LiveKit asks again until the deadline; then the shipped greeting is said, and the trace says why."""

    async def fail(call: VirtualCall) -> None:
        await _joined(call)
        call.tts.speaking.fails = True

    ended = virtual_calls.run(_hears_all, shape, prepare=fail, speech_deadline=2.0)
    assert ended.outcome == "first_word"
    assert ended.events == ["greeting.shipped"]
    assert ended.seconds == pytest.approx(seconds + 2.0, abs=MS)
    assert _seconds(ended.heard) == pytest.approx(_seconds_of_shipped(), abs=0.050)


def test_a_caller_who_listens_before_they_are_announced(virtual_calls: VirtualCalls) -> None:
    """They are spoken to at once; the start is over when they are announced, and is dated back to what they heard."""

    async def scenario(call: VirtualCall) -> None:
        await call.at(1.0)
        await call.caller.join()
        await call.hang_up(5.0)

    ended = virtual_calls.run(scenario, TUNED, microphone=False)
    assert ended.seconds == pytest.approx(1.0 + CONNECT, abs=MS)
    assert ended.span("playout").end_time == pytest.approx(ended.heard[0].at * 1e9, abs=1e6)


@pytest.mark.parametrize(
    ("shape", "outcome", "seconds"),
    [
        pytest.param(BASELINE, "timed_out", CONNECT + 1.0, id="the session's track"),
        pytest.param(TUNED, "timed_out", CONNECT + 0.010 + 1.0, id="the voice, which is there first"),
    ],
)
def test_nobody_subscribes(virtual_calls: VirtualCalls, shape: Shape, outcome: str, seconds: float) -> None:
    """A caller who never hears, and who is there: the start ends as any that takes too long, not after `caller_timeout`."""

    async def deaf(call: VirtualCall) -> None:
        await _joined(call)
        for connection in call.livekit.connections("call", "caller"):
            connection.info.permission.can_subscribe = False

    async def scenario(call: VirtualCall) -> None:
        await call.at(10.0)
        await call.caller.leave()

    ended = virtual_calls.run(scenario, shape, prepare=deaf, start_timeout=1.0, caller_timeout=3.0)
    assert ended.outcome == outcome
    assert ended.seconds == pytest.approx(seconds, abs=MS)
    assert not ended.heard


def test_keys_pressed_before_the_first_word(virtual_calls: VirtualCalls) -> None:
    """What handles them comes after the first word; what was pressed meanwhile reaches it, in order, as one entry."""

    async def scenario(call: VirtualCall) -> None:
        for digit in "12":
            await call.caller.room.local_participant.publish_dtmf(code=int(digit), digit=digit)
        await call.at(20)
        assert call.llm.questions == ["(pressed 12 on the telephone)"]
        await call.caller.leave()

    async def connected(call: VirtualCall) -> None:
        await _joined(call)
        call.store.read = 2.0

    ended = virtual_calls.run(_after(0.080, scenario), TUNED, prepare=connected, account_deadline=5.0)
    assert ended.outcome == "first_word"


def test_interruption(virtual_calls: VirtualCalls) -> None:
    """From half a second of the greeting on the caller can interrupt it by speaking, and is answered."""

    async def scenario(call: VirtualCall) -> None:
        await call.heard()
        await asyncio.sleep(0.8)
        call.vad.begin()
        await asyncio.sleep(0.5)
        call.vad.end()
        call.stt.say("stop")
        await asyncio.sleep(5)
        assert call.llm.questions == ["stop"]
        await call.caller.leave()

    ended = virtual_calls.run(scenario, TUNED, prepare=_joined)
    begun = ended.heard[0].at
    quiet = [each for each in ended.heard if begun + 1.5 < each.at < begun + 1.6]
    assert not quiet


@pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["say", "speak"])
def test_the_assistant_knows_its_greeting(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """Once, as its own words, also where the session took it over: whoever answers "Yes, please" is understood."""

    known: list[list[str]] = []

    async def scenario(call: VirtualCall) -> None:
        await call.heard()
        await asyncio.sleep(10)
        call.stt.say("Yes, please")
        await asyncio.sleep(5)
        known.extend(call.llm.said)
        await call.caller.leave()

    ended = virtual_calls.run(scenario, shape, prepare=_joined)
    assert known == [[greeting_text(ADA, ended.began).text]]


def test_what_a_caller_says_is_heard(virtual_calls: VirtualCalls) -> None:
    """With `light-connect` the agent subscribes to the caller only when the session is there, to all tracks of theirs."""

    async def scenario(call: VirtualCall) -> None:
        await call.heard()
        await asyncio.sleep(1.0)
        await call.caller.say(1.0)
        await asyncio.sleep(0.5)
        assert call.stt.heard == pytest.approx(1.0, abs=0.1)
        await call.caller.leave()

    for shape in (BASELINE, TUNED):
        virtual_calls.run(scenario, shape, prepare=_joined)


def test_a_leave_told_after_the_return(virtual_calls: VirtualCalls) -> None:
    """An order that no server should have: whoever is there is said to have left. They are waited for, and not spoken to."""

    async def scenario(call: VirtualCall) -> None:
        await call.at(0.120)
        agent = call.livekit.rooms["call"].participants["agent"]
        agent.event(
            participant_disconnected={
                "participant_identity": "caller",
                "disconnect_reason": rtc.DisconnectReason.CLIENT_INITIATED,
            }
        )
        await call.at(5.0)
        await call.caller.leave()

    ended = virtual_calls.run(scenario, TUNED, prepare=_joined)
    assert ended.outcome == "abandoned"
    assert _seconds(ended.heard) <= 0.010  # a frame that had begun


def _after(seconds: float, scenario: Scenario) -> Scenario:
    async def later(call: VirtualCall) -> None:
        await call.at(seconds)
        await scenario(call)

    return later


@pytest.mark.parametrize("shape", [BASELINE, TUNED, _with(Improvement.LIGHT_CONNECT)], ids=str)
@pytest.mark.parametrize("reconnects", [False, True], ids=["", "the agent's own connection breaks too"])
@pytest.mark.parametrize("away", [0.05, 0.5, 2.0])
def test_who_comes_back_hears_one_voice(
    virtual_calls: VirtualCalls, shape: Shape, away: float, reconnects: bool
) -> None:
    """The agent never has two tracks of its voice, however its caller and it come and go before the first word."""
    most: list[int] = []

    async def watch(call: VirtualCall) -> None:
        agent = call.livekit.connections("call", "agent")[0]
        while not agent.left:
            most.append([each.track.name for each in agent.publications.values()].count(VOICE_TRACK))
            await asyncio.sleep(0.005)

    async def scenario(call: VirtualCall) -> None:
        await call.at(0.06)
        watching = asyncio.create_task(watch(call))
        await call.at(0.3)
        await call.caller.leave()
        await asyncio.sleep(away)
        if reconnects:
            await call.job.context.room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
        await call.caller.join()
        await call.hang_up(2.0)
        await watching

    async def slow(call: VirtualCall) -> None:
        await _joined(call)
        call.store.read = 1.0

    ended = virtual_calls.run(scenario, shape, prepare=slow, account_deadline=9.0, store_deadline=9.0, departure=20.0)
    assert ended.outcome == "first_word"
    assert max(most) == 1


@pytest.mark.parametrize(
    ("first_byte", "fails", "error"),
    [pytest.param(60.0, False, "TimeoutError", id="mute"), pytest.param(0.1, True, "APIConnectionError", id="broken")],
)
def test_a_voice_that_fails_after_the_opening(
    virtual_calls: VirtualCalls, first_byte: float, fails: bool, error: str
) -> None:
    """The caller hears the opening at once and the shipped greeting then; the trace says why, once."""
    heard: list[HeardFrame] = []

    async def prepare(call: VirtualCall) -> None:
        speeches, components = call.process.speeches, call.process.components
        assert speeches is not None
        assert components is not None
        another = replace(ADA, id="another")
        voice = components.speaker.voice
        assert voice is not None
        written = greeting_text(ADA, time.time())
        await make_ahead(written, another, components.speaker, voice, speeches)
        call.tts.speaking.first_byte, call.tts.speaking.fails = first_byte, fails
        await _joined(call)

    async def scenario(call: VirtualCall) -> None:
        await call.hang_up(20.0)
        heard.extend(call.caller.heard)

    ended = virtual_calls.run(scenario, TUNED, prepare=prepare, greeting_deadline=5.0)
    assert (ended.outcome, ended.events) == ("first_word", [])
    late = ended.span("deferred.greeting_cache")
    assert [event.name for event in late.events] == ["greeting.shipped"]
    assert (late.attributes or {})["error.type"] == error
    shipped = samples_of(asyncio.run(shipped_audio().whole()), SAMPLE_RATE)
    between_the_joints = shipped[SAMPLE_RATE // 4 : -SAMPLE_RATE // 4].tobytes()
    assert b"".join(bytes(each.frame.data) for each in heard).count(between_the_joints) == 1
    assert ended.seconds == pytest.approx(READ + 3 * LOOK_UP, abs=MS)


def test_the_llm_writes_while_the_caller_waits(virtual_calls: VirtualCalls) -> None:
    """With no greeting kept for the next call; its first token is part of the time to first word."""
    said: list[str] = []

    async def prepare(call: VirtualCall) -> None:
        call.llm.answer = "Welcome back, dear caller!"
        await _joined(call)

    async def scenario(call: VirtualCall) -> None:
        await call.hang_up(10.0)
        said.extend(call.tts.speaking.requests)

    ended = virtual_calls.run(scenario, BASELINE, prepare=prepare, greeting_writer="llm")
    assert said == ["Welcome back, dear caller!"]
    assert ended.seconds == pytest.approx(CONNECT + READ + BACKGROUND + READ + READ + FIRST_TOKEN + VOICE, abs=MS)
