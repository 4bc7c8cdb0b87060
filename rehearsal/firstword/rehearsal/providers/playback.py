"""Sends a simulated voice: a syllable at a time, faster than it plays. Between `voice.py` and the protocols."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from firstword.rehearsal.providers import voice
from firstword.rehearsal.providers.admission import hang_up

_FASTER_THAN_REAL_TIME = 10


async def play(
    request: web.Request, send: Callable[[bytes], Awaitable[None]], text: str, sample_rate: int, *, cut: bool
) -> None:
    """Sends the voice saying a text to `send`, as mono 16-bit little-endian PCM, ten times as fast as it plays.

    cut: hang up in the middle.
    """
    audio = voice.speech(text, sample_rate).tobytes()
    step = 2 * round(voice.SYLLABLE * sample_rate)
    for begin in range(0, len(audio), step):
        if cut and begin >= len(audio) // 2:
            hang_up(request)
        await send(audio[begin : begin + step])
        await asyncio.sleep(voice.SYLLABLE / _FASTER_THAN_REAL_TIME)


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancels a task that plays, and waits until it has ended. Ignores that the client is gone."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        await task
