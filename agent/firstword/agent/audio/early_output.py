"""The one class of LiveKit's that we build on though it is private: the audio output of a room.

What it uses of it is listed in `firstword.agent.livekit_private`. Import it only where `audio_is_known` says that all of it is there.
"""

from __future__ import annotations

import asyncio

from livekit import rtc
from livekit.agents.voice.room_io import AudioOutputOptions
from livekit.agents.voice.room_io._output import _ParticipantAudioOutput  # pyright: ignore[reportPrivateUsage]


class EarlyOutput(_ParticipantAudioOutput):
    """LiveKit's own audio output of a room, published at will instead of once a participant is linked.

    RoomIO makes one only after the caller has come. `_publish_track` is replaced, as it publishes and waits for the subscription in one.
    """

    def __init__(self, room: rtc.Room, options: AudioOutputOptions, *, sample_rate: int, queue_ms: int) -> None:
        """options: name of the track and how it is published; the rate, Hz, and the queue are these."""
        super().__init__(
            room,
            sample_rate=sample_rate,
            num_channels=1,
            track_publish_options=options.track_publish_options,
        )
        name = options.track_name if isinstance(options.track_name, str) else "roomio_audio"  # RoomIO's own
        self._audio_source = rtc.AudioSource(sample_rate, 1, queue_size_ms=queue_ms)
        self._track = rtc.LocalAudioTrack.create_audio_track(name, self._audio_source)  # 2 to 3 ms
        self.published = asyncio.Event()

    async def push(self, frame: rtc.AudioFrame) -> None:
        """Play a frame that is no session's; waits while the queue is full."""
        await self._audio_source.capture_frame(frame)

    async def played(self) -> None:
        """Returns when the queue is empty."""
        await self._audio_source.wait_for_playout()

    def drop_queue(self) -> None:
        """Drop the audio that is queued and not played yet."""
        self._audio_source.clear_queue()

    async def _publish_track(self) -> None:
        async with self._lock:
            self._publication = await self._room.local_participant.publish_track(self._track, self._publish_options)
        self.published.set()
        await self._publication.wait_for_subscription()
        if not self._subscribed_fut.done():
            self._subscribed_fut.set_result(None)
