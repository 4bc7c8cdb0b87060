"""The voice before a session is there: published for whoever comes, and played on by whoever has something to say."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from livekit import rtc
from livekit.agents.voice.room_io import AudioOutputOptions

from firstword.agent.audio.early_output import EarlyOutput

RATE = 24_000


class Publication:
    """A published track that somebody subscribes to when they are told to."""

    sid = "TR_1"

    def __init__(self) -> None:
        self.subscribe = asyncio.Event()

    async def wait_for_subscription(self) -> None:
        await self.subscribe.wait()


async def test_published_before_anybody_subscribes() -> None:
    """Who greets can tell the one from the other; what is said by then is played, and dropped when it is not to be."""
    publication = Publication()

    async def publish_track(*_: Any) -> Publication:
        return publication

    room = SimpleNamespace(local_participant=SimpleNamespace(publish_track=publish_track))
    output = EarlyOutput(cast("rtc.Room", room), AudioOutputOptions(), sample_rate=RATE, queue_ms=600)
    source: rtc.AudioSource = output._audio_source  # pyright: ignore[reportPrivateUsage]
    starting = asyncio.create_task(output.start())
    try:
        await output.published.wait()
        assert not output.subscribed.done()
        publication.subscribe.set()
        await starting
        assert output.subscribed.done()
        await output.push(rtc.AudioFrame.create(RATE, 1, RATE // 2))
        assert 0 < source.queued_duration <= 0.5
        output.drop_queue()
        assert source.queued_duration == 0
        await output.push(rtc.AudioFrame.create(RATE, 1, RATE // 50))
        await output.played()
        assert source.queued_duration == 0
    finally:
        await output.aclose()
