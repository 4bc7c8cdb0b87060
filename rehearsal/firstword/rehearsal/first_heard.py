"""Lets an audit's caller meet an agent: they wait for its greeting, and where none comes they speak first.

Above `callers.py`. A greeting counts from the caller's connecting, an answer from the end of what the caller said.
"""

from __future__ import annotations

import asyncio
import contextlib
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from firstword.agent.greeting import greeting
from firstword.rehearsal.callers import MICROPHONE_RATE, RehearsalCaller, Samples
from firstword.tuning.audit.facts import FirstVoice

QUIET_S = 3.0
"""Seconds that an agent that listens may be silent before the caller speaks."""
_HELLO_S = 0.7
"""Of the shipped greeting: its first word, and the silence behind it."""


@dataclass(frozen=True, slots=True)
class FirstHeard:
    """After how many seconds an agent was first heard, and who had spoken first."""

    seconds: float
    first_voice: FirstVoice


async def first_heard(caller: RehearsalCaller, patience: float) -> FirstHeard:
    """Waits until a connected caller first hears the agent; where it greets nobody, the caller says hello first.

    Returns when the agent was heard. Raises TimeoutError where it was not.
    patience: seconds to wait for a greeting, or for an agent that listens, and as many again for its answer.
    """
    hears = asyncio.create_task(caller.hear(2 * patience + QUIET_S))
    listens = asyncio.create_task(caller.agent_listens(QUIET_S))
    try:
        await asyncio.wait({hears, listens}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if hears.done():
            return FirstHeard(hears.result(), FirstVoice.GREETS)
        if not listens.done():
            raise TimeoutError
        spoke = await caller.speak(hello())
        answered = await caller.heard_at(patience)
        return FirstHeard(max(answered - spoke, 0.0), FirstVoice.ANSWERS)
    finally:
        for task in (hears, listens):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                await task


@cache
def hello() -> Samples:
    """Returns a "Hello" by a person, mono at the rate of a caller's microphone. Any VAD takes it for speech, and any STT for a word."""
    with wave.open(str(Path(greeting.__file__).parent / "sounds" / "hello.wav")) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(round(_HELLO_S * rate)), np.int16)
    at = np.arange(round(len(samples) * MICROPHONE_RATE / rate)) * rate / MICROPHONE_RATE
    return np.array(np.interp(at, np.arange(len(samples)), samples), np.int16)
