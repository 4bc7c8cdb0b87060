"""Fake audio: sources that play what is pushed into them, tracks, and streams that hear it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

from firstword.agent.testing.agenda import Later, later
from firstword.agent.testing.native import Buffer, Done, Fields, Native, read

if TYPE_CHECKING:
    from firstword.agent.testing.participant import Publication

_SAMPLE_BYTES = 2


class Played(NamedTuple):
    """A frame that was played, and when it began."""

    at: float
    """When it began, Unix seconds."""
    frame: rtc.AudioFrame


class FakeAudioSource:
    """An audio source that plays frames one after the other, each for its duration. `capture` is done once its queue
    has room for more.
    """

    def __init__(self, rate: int, channels: int, queue: float) -> None:
        self._rate, self._channels, self._queue = rate, channels, queue
        self._dry = 0.0
        self._waiting: list[Later] = []
        self.played: list[Played] = []
        """Every frame that began to play, heard or not."""
        self.publications: list[Publication] = []

    def capture(self, samples: bytes, done: Done) -> None:
        """Queues these samples (16 bits each) to play after those before. Calls `done` once the queue has room for
        more.
        """
        frame = rtc.AudioFrame(samples, self._rate, self._channels, len(samples) // _SAMPLE_BYTES // self._channels)
        now = time.monotonic()
        begin = max(now, self._dry)
        self._dry = begin + frame.duration
        self._waiting = [each for each in self._waiting if each.when > now and not each.cancelled]
        self._waiting.append(later(begin - now, lambda: self._play(frame)))
        later(max(self._dry - self._queue - now, 0.0), done)

    def clear(self) -> None:
        """Drops the frames that have not begun to play."""
        for frame in self._waiting:
            frame.cancel()
        self._waiting = []
        self._dry = time.monotonic()

    def dropped(self) -> None:
        """Called when the client closes the source: drops the frames that have not begun to play."""
        self.clear()

    def _play(self, frame: rtc.AudioFrame) -> None:
        played = Played(time.time(), frame)
        self.played.append(played)
        for publication in list(self.publications):
            publication.play(played)


class Track:
    """An audio track, local or at a subscriber, and the `AudioStream`s that listen to it."""

    def __init__(self, name: str, source: FakeAudioSource | None) -> None:
        self.name, self.source = name, source
        self.streams: list[Stream] = []
        self.muted = False
        self.publication: Publication | None = None

    def play(self, played: Played) -> None:
        """Gives a frame of the track to each stream that listens to it."""
        for stream in list(self.streams):
            stream.hear(played.frame)

    def end(self) -> None:
        """Ends each stream that listens to the track."""
        for stream in list(self.streams):
            stream.end()


class Stream:
    """The native side of an `AudioStream`: it receives the frames of a track, converted to its own rate and channels."""

    def __init__(self, native: Native, track: Track, rate: int, channels: int) -> None:
        self._native, self._track, self._rate, self._channels = native, track, rate, channels
        self.handle = native.handle(self)
        track.streams.append(self)

    def hear(self, frame: rtc.AudioFrame) -> None:
        """Converts a frame and sends it to the listener."""
        samples = _converted(frame, self._rate, self._channels)
        buffer = Buffer(samples.tobytes())
        info = {
            "data_ptr": buffer.address,
            "num_channels": self._channels,
            "sample_rate": self._rate,
            "samples_per_channel": len(samples) // self._channels,
        }
        received = {"frame": {"handle": self._native.owned(buffer), "info": info}}
        self._native.emit(audio_stream_event={"stream_handle": self.handle, "frame_received": received})

    def end(self) -> None:
        """Ends the stream: it leaves its track, and the listener is told that no frame follows. A second call does
        nothing.
        """
        if self in self._track.streams:
            self._track.streams.remove(self)
            self._native.emit(audio_stream_event={"stream_handle": self.handle, "eos": {}})

    def dropped(self) -> None:
        """Called when the listener has closed this stream: ends it."""
        self.end()


def _converted(frame: rtc.AudioFrame, rate: int, channels: int) -> NDArray[np.int16]:
    """The samples of a frame at another rate, mono if so; linear, which is good enough to be heard by a fake."""
    samples = np.frombuffer(bytes(frame.data), dtype=np.int16).reshape(-1, frame.num_channels)
    mono = samples if frame.num_channels == channels else np.repeat(samples[:, :1], channels, axis=1)
    if frame.sample_rate != rate:
        places = np.arange(round(len(mono) * rate / frame.sample_rate)) * frame.sample_rate / rate
        parts = [np.interp(places, np.arange(len(mono)), mono[:, each]) for each in range(channels)]
        mono = np.stack(parts, axis=1).astype(np.int16)
    return mono.reshape(-1)


def register(native: Native) -> None:
    """Registers the answers to requests about audio sources, tracks and streams with the fake native client."""

    def new_source(request: Any) -> Fields:
        source = FakeAudioSource(request.sample_rate, request.num_channels, request.queue_size_ms / 1e3)
        return {"source": {"handle": native.owned(source), "info": {"type": request.type}}}

    def capture(request: Any, done: Done) -> None:
        buffer = request.buffer
        size = buffer.num_channels * buffer.samples_per_channel * _SAMPLE_BYTES
        native.object(request.source_handle).capture(read(buffer.data_ptr, size), done)

    def clear(request: Any) -> None:
        native.object(request.source_handle).clear()

    def new_track(request: Any) -> Fields:
        track = Track(request.name, native.object(request.source_handle))
        info = {"name": request.name, "kind": rtc.TrackKind.KIND_AUDIO}
        return {"track": {"handle": native.owned(track), "info": info}}

    def mute(request: Any) -> Fields:
        track: Track = native.object(request.track_handle)
        track.muted = request.mute
        if track.publication is not None:
            track.publication.mute(request.mute)
        return {"muted": request.mute}

    def new_stream(request: Any) -> Fields:
        return _stream(native.object(request.track_handle), request)

    def stream_of_participant(request: Any) -> Fields:
        return _stream(native.object(request.participant_handle).track_of(request.track_source), request)

    def _stream(track: Track, request: Any) -> Fields:
        stream = Stream(native, track, request.sample_rate or 48_000, request.num_channels or 1)
        return {"stream": {"handle": {"id": stream.handle}, "info": {"type": request.type}}}

    native.answers("new_audio_source", new_source)
    native.performs("capture_audio_frame", capture)
    native.answers("clear_audio_buffer", clear)
    native.answers("create_audio_track", new_track)
    native.answers("local_track_mute", mute)
    native.answers("new_audio_stream", new_stream)
    native.answers("audio_stream_from_participant", stream_of_participant)
