"""The voice before a session is there: it begins with silence, of which nothing comes before what is said."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc

from agent.early_output import EarlyOutput

RATE = 24_000


class Publication:
    """A published track that somebody subscribes to when they are told to."""

    sid = "TR_1"

    def __init__(self) -> None:
        self.subscribe = asyncio.Event()

    async def wait_for_subscription(self) -> None:
        await self.subscribe.wait()


@pytest.mark.parametrize("by", ["speech", "session"])
@pytest.mark.parametrize(("waits", "others"), [(0.0, 1), (0.4, 1), (0.0, 0)])
async def test_silence_goes_with_the_first_frame(by: str, waits: float, others: int) -> None:
    """Whoever it is of, and also when it is over by then; where nobody is in the room it is not sent."""
    publication = Publication()

    async def publish_track(*_: Any) -> Publication:
        return publication

    room = SimpleNamespace(
        local_participant=SimpleNamespace(publish_track=publish_track),
        remote_participants={f"caller {number}": None for number in range(others)},
    )
    output = EarlyOutput(cast("rtc.Room", room), sample_rate=RATE, queue_ms=600)
    source: rtc.AudioSource = output._audio_source  # pyright: ignore[reportPrivateUsage]
    starting = asyncio.create_task(output.start())
    try:
        await output.published.wait()
        await asyncio.sleep(0.01)
        assert (0.2 < source.queued_duration <= 0.25) if others else source.queued_duration == 0
        await asyncio.sleep(waits)
        publication.subscribe.set()
        await starting
        frame = rtc.AudioFrame.create(RATE, 1, RATE // 20)
        if by == "speech":
            await output.push(frame)
        else:
            await output.capture_frame(frame)
            await asyncio.sleep(0.02)  # it is forwarded by a task
        assert 0 < source.queued_duration <= 0.05
        await asyncio.sleep(0.3)
        assert source.queued_duration == 0
    finally:
        await output.aclose()
