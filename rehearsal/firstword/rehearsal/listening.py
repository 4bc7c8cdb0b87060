"""How an audit's caller meets an agent: they wait for its greeting, and where none comes they speak first.

Above `callers.py`. A greeting counts from the caller's connecting, an answer from the end of what the caller said.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from firstword.rehearsal.callers import RehearsalCaller
from firstword.tuning.audit.facts import FirstVoice

QUIET_S = 3.0
"""So long an agent that listens may be silent before the caller speaks."""
HELLO_HZ = 300
"""What the simulated STT hears as `hello` (`firstword.rehearsal.providers.hearing`)."""
_HELLO_S = 0.6


@dataclass(frozen=True, slots=True)
class FirstHeard:
    """When an agent was first heard."""

    seconds: float
    first_voice: FirstVoice


async def first_heard(caller: RehearsalCaller, patience: float) -> FirstHeard:
    """When the agent of this caller, who has connected, is first heard. Raises TimeoutError where it is not.

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
        await caller.say(HELLO_HZ, _HELLO_S)
        spoke = time.monotonic() + caller.unsaid
        answered = await caller.heard_at(patience)
        return FirstHeard(max(answered - spoke, 0.0), FirstVoice.ANSWERS)
    finally:
        for task in (hears, listens):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                await task
