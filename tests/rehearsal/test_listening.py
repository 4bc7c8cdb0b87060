"""How an audit's caller meets an agent: a greeting counts from connecting, an answer from the end of what the caller said."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from firstword.rehearsal.callers import RehearsalCaller
from firstword.rehearsal.listening import FirstHeard, first_heard
from firstword.tuning.audit.facts import FirstVoice

NEVER_S = 3_600.0


class _Caller:
    """A caller whose agent greets, listens and answers at once, or never."""

    def __init__(self, *, greets: bool = False, listens: bool = False, answers: bool = False) -> None:
        self._greets, self._listens, self._answers = greets, listens, answers
        self.said: list[float] = []
        self.unsaid = 0.2
        self._heard_at = 0.0

    async def hear(self, within: float) -> float:
        await _never(not self._greets, within)
        return 1.5

    async def agent_listens(self, _: float) -> None:
        await _never(not self._listens, NEVER_S)

    async def say(self, frequency_hz: float, seconds: float) -> None:
        self.said.append(frequency_hz)
        self._heard_at = time.monotonic() + 100.0

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
    """What the microphone has and has not sent is still said: it counts from there."""
    caller = _Caller(listens=True, answers=True)
    heard = await meeting(caller, NEVER_S)
    assert heard.first_voice is FirstVoice.ANSWERS
    assert 50 < heard.seconds <= 99.8
    assert caller.said == [300]


@pytest.mark.parametrize("listens", [False, True])
async def test_an_agent_that_says_nothing(listens: bool) -> None:
    """Whoever does not listen is not spoken to."""
    caller = _Caller(listens=listens)
    with pytest.raises(TimeoutError):
        await meeting(caller, 0.01)
    assert bool(caller.said) is listens
