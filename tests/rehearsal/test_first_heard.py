"""How an audit's caller meets an agent: a greeting counts from connecting, an answer from the end of what the caller said."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import inference, vad

from firstword.rehearsal.callers import MICROPHONE_RATE, RehearsalCaller, Samples
from firstword.rehearsal.first_heard import FirstHeard, first_heard, hello
from firstword.tuning.audit.facts import FirstVoice

NEVER_S = 3_600.0


class _Caller:
    """A caller whose agent greets, listens and answers at once, or never."""

    def __init__(self, *, greets: bool = False, listens: bool = False, answers: bool = False) -> None:
        self._greets, self._listens, self._answers = greets, listens, answers
        self.said: list[Samples] = []
        self._heard_at = 0.0

    async def hear(self, within: float) -> float:
        await _never(not self._greets, within)
        return 1.5

    async def agent_listens(self, _: float) -> None:
        await _never(not self._listens, NEVER_S)

    async def speak(self, samples: Samples) -> float:
        self.said.append(samples)
        self._heard_at = 100.0
        return 98.5

    async def heard_at(self, within: float) -> float:
        await _never(not self._answers, within)
        return self._heard_at


async def _never(never: bool, within: float) -> None:
    if never:
        async with asyncio.timeout(within):
            await asyncio.Event().wait()


def meeting(caller: _Caller, patience: float) -> Any:
    return first_heard(cast(RehearsalCaller, caller), patience)


async def test_an_agent_that_greets_is_not_spoken_to() -> None:
    caller = _Caller(greets=True)
    assert await meeting(caller, NEVER_S) == FirstHeard(1.5, FirstVoice.GREETS)
    assert caller.said == []


async def test_an_agent_that_listens_is_spoken_to() -> None:
    """It counts from the instant at which the last of what they say has left the microphone."""
    caller = _Caller(listens=True, answers=True)
    heard = await meeting(caller, NEVER_S)
    assert heard == FirstHeard(1.5, FirstVoice.ANSWERS)
    assert len(caller.said) == 1


@pytest.mark.parametrize("listens", [False, True])
async def test_an_agent_that_says_nothing(listens: bool) -> None:
    """Whoever does not listen is not spoken to."""
    caller = _Caller(listens=listens)
    with pytest.raises(TimeoutError):
        await meeting(caller, 0.01)
    assert bool(caller.said) is listens


async def test_what_the_caller_says_is_speech() -> None:
    """One utterance to LiveKit's own detector of voice, which many agents wait for."""
    quiet = np.zeros(MICROPHONE_RATE, np.int16)
    sound = np.concatenate([quiet, hello(), quiet])
    stream = inference.VAD().stream()
    for begin in range(0, len(sound), MICROPHONE_RATE // 50):
        piece = sound[begin : begin + MICROPHONE_RATE // 50]
        stream.push_frame(rtc.AudioFrame(piece.tobytes(), MICROPHONE_RATE, 1, len(piece)))
    stream.end_input()
    events = [event.type async for event in stream if event.type is not vad.VADEventType.INFERENCE_DONE]
    assert events == [vad.VADEventType.START_OF_SPEECH, vad.VADEventType.END_OF_SPEECH]
