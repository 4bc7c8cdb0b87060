"""A caller of an agent under test: LiveKit's own client, with a microphone, on a fake server."""

from __future__ import annotations

from typing import Any

import numpy as np
from livekit import rtc

from firstword.agent.testing.livekit import URL, FakeLiveKit
from firstword.agent.testing.participant import HeardFrame

_RATE = 16_000
_CHUNK = _RATE // 50


class FakeCaller:
    """A caller of an agent under test: joins a room, speaks, hears, leaves. To join again is to come back.

    microphone: whether it publishes one, as callers do. token: what `FakeLiveKit.token` takes (kind, attributes,
    grants).
    """

    def __init__(
        self,
        livekit: FakeLiveKit,
        room: str = "call",
        identity: str = "caller",
        *,
        microphone: bool = True,
        **token: Any,
    ) -> None:
        self._livekit, self._name, self._identity, self._token = livekit, room, identity, token
        self._microphone = microphone
        self._source: rtc.AudioSource | None = None
        self._room: rtc.Room | None = None

    @property
    def room(self) -> rtc.Room:
        """Returns the room that the caller is in, or was in last. Raises RuntimeError before it has joined one."""
        if self._room is None:
            raise RuntimeError("the caller has joined no room")
        return self._room

    @property
    def heard(self) -> list[HeardFrame]:
        """Returns every frame that has reached the caller, over all its connections."""
        connections = self._livekit.connections(self._name, self._identity)
        return [heard for connection in connections for heard in connection.heard]

    async def join(self) -> None:
        """Connects to the room, and publishes the microphone if the caller has one."""
        self._room = rtc.Room()
        await self._room.connect(URL, self._livekit.token(self._name, self._identity, **self._token))
        if self._microphone:
            self._source = rtc.AudioSource(_RATE, 1, queue_size_ms=100)
            track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            await self._room.local_participant.publish_track(track, options)

    async def say(self, seconds: float, *, frequency: float = 300.0) -> None:
        """Speaks a tone of `frequency` Hz into the microphone, and returns when it is over. Raises RuntimeError without
        a microphone.
        """
        if self._source is None:
            raise RuntimeError("the caller has no microphone")
        times = np.arange(round(seconds * _RATE)) / _RATE
        samples = (12_000 * np.sin(2 * np.pi * frequency * times)).astype(np.int16)
        for begin in range(0, len(samples), _CHUNK):
            chunk = samples[begin : begin + _CHUNK]
            await self._source.capture_frame(rtc.AudioFrame(chunk.tobytes(), _RATE, 1, len(chunk)))
        await self._source.wait_for_playout()

    async def leave(self) -> None:
        """Leaves the room, as a caller who hangs up."""
        await self.room.disconnect()
        if self._source is not None:
            await self._source.aclose()
            self._source = None
