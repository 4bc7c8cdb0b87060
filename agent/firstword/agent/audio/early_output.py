"""An audio output of a room that can be published before the caller comes. It is built on a private class of LiveKit's.

`firstword.agent.livekit_private` lists the names of that class that it uses. Import it only if `audio_is_known` says
that all exist.
"""

from __future__ import annotations

import asyncio

from livekit import rtc
from livekit.agents.voice.room_io import AudioOutputOptions
from livekit.agents.voice.room_io._output import _ParticipantAudioOutput  # pyright: ignore[reportPrivateUsage]


class EarlyOutput(_ParticipantAudioOutput):
    """LiveKit's own audio output of a room, made so that its track can be published before the caller comes.

    RoomIO publishes one only after a participant is linked. `_publish_track` is replaced, as LiveKit's publishes and
    waits for the subscription in one step.
    """

    def __init__(self, room: rtc.Room, options: AudioOutputOptions, *, sample_rate: int, queue_ms: int) -> None:
        """Makes the track, not published yet. options: its name and how it is published. sample_rate is in Hz, queue_ms
        in milliseconds.
        """
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
        """Plays a frame that comes from no session. Waits while the queue is full."""
        await self._audio_source.capture_frame(frame)

    async def played(self) -> None:
        """Waits until all queued audio has been played."""
        await self._audio_source.wait_for_playout()

    def drop_queue(self) -> None:
        """Drops the audio that is queued and not played yet."""
        self._audio_source.clear_queue()

    async def _publish_track(self) -> None:
        async with self._lock:
            self._publication = await self._room.local_participant.publish_track(self._track, self._publish_options)
        self.published.set()
        await self._publication.wait_for_subscription()
        if not self._subscribed_fut.done():
            self._subscribed_fut.set_result(None)
