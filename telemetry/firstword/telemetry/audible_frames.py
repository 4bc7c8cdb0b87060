"""Detects when an agent is first heard: the first audible frame on a track of its room that somebody is subscribed to.

Any track counts but LiveKit's background audio. An avatar elsewhere speaks on a track of its own. There it is the
instant at which it says that playback has started, or at which its first frame is sent.

Private names are from `firstword.telemetry.livekit_private`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from firstword.telemetry.guard import guarded
from firstword.telemetry.hooks import Function, HookPlace, Hooks
from firstword.telemetry.livekit_private import AVATAR_ROOM, BACKGROUND_AUDIO

if TYPE_CHECKING:
    from livekit import rtc

AUDIBLE = round(32_768 * 10 ** (-36 / 20))
"""Peak of a 16-bit sample above which a frame is heard: -36 dBFS."""


@dataclass
class _Feed:
    """The track that a source feeds, and whether it has sent an audible frame."""

    track: rtc.LocalAudioTrack
    audible: bool = False


_feeds: WeakKeyDictionary[rtc.AudioSource, _Feed] = WeakKeyDictionary()
"""Of the tracks that were made while somebody listens."""
_listening: tuple[FirstFrame, ...] = ()
"""A job each: jobs may be threads of one process."""
_lock = threading.Lock()


class FirstFrame:
    """Listens to one room for the first audible frame that a subscriber hears, from its making until `stop`.

    heard: called in the step that sends that frame, and perhaps again until `stop`. connected: called when the room is
    connected.
    """

    def __init__(self, room: rtc.Room, *, heard: Callable[[], None], connected: Callable[[], None]) -> None:
        global _listening
        self.room = room
        self.heard = heard
        self.connected = connected
        self._subscribed: list[rtc.LocalTrack] = []
        room.on("local_track_subscribed", self._on_subscribed)
        with _lock:
            _listening = (*_listening, self)
        _hooks.use()

    def stop(self) -> None:
        """Stops listening. Call it once."""
        global _listening
        self.room.off("local_track_subscribed", self._on_subscribed)
        with _lock:
            _listening = tuple(each for each in _listening if each is not self)
        _hooks.release()

    def hears(self, track: rtc.LocalAudioTrack) -> bool:
        """Returns whether somebody in the room is subscribed to the track."""
        return any(each is track for each in self._subscribed)

    @guarded
    def _on_subscribed(self, track: rtc.LocalTrack) -> None:
        self._subscribed.append(track)
        # what was sent before and is not played yet is heard from here on
        if any(feed.track is track and feed.audible and source.queued_duration > 0 for source, feed in _feeds.items()):
            self.heard()


@guarded
def _captured(source: Any, frame: rtc.AudioFrame) -> None:
    feed = _feeds.get(source)
    if feed is not None and feed.track.name != BACKGROUND_AUDIO and _is_audible(frame):
        feed.audible = True
        for listener in _listening:
            if listener.hears(feed.track):
                listener.heard()


def _is_audible(frame: rtc.AudioFrame) -> bool:
    samples = memoryview(frame.data).cast("B").cast("h")
    return len(samples) > 0 and max(max(samples), -min(samples)) > AUDIBLE


@guarded
def _made(track: rtc.LocalAudioTrack, source: Any) -> None:
    from livekit import rtc

    if isinstance(source, rtc.AudioSource):
        _feeds[source] = _Feed(track)


@guarded
def _connected(room: rtc.Room) -> None:
    for listener in _listening:
        if listener.room is room:
            listener.connected()


@guarded
def _playback_started(output: object) -> None:
    avatars = sys.modules.get("livekit.agents.voice.avatar")
    if avatars is not None and isinstance(output, avatars.DataStreamAudioOutput):
        for listener in _listening:
            if AVATAR_ROOM.of(output) is listener.room:
                listener.heard()


def _capture_frame(original: Function) -> Function:
    async def capture_frame(self: Any, frame: Any) -> Any:
        if _listening:
            _captured(self, frame)
        return await original(self, frame)

    return capture_frame


def _create_audio_track(original: Function) -> Function:
    def create_audio_track(name: Any, source: Any) -> Any:
        track = original(name, source)
        if _listening:
            _made(track, source)
        return track

    return create_audio_track


def _connect(original: Function) -> Function:
    async def connect(self: Any, *arguments: Any, **options: Any) -> Any:
        result = await original(self, *arguments, **options)
        if _listening:
            _connected(self)
        return result

    return connect


def _on_playback_started(original: Function) -> Function:
    def on_playback_started(self: Any, **options: Any) -> Any:
        if _listening:
            _playback_started(self)
        return original(self, **options)

    return on_playback_started


def _places() -> Sequence[HookPlace]:
    from livekit import rtc
    from livekit.agents.voice import io

    return (
        HookPlace(rtc.AudioSource, "capture_frame", _capture_frame),
        HookPlace(rtc.LocalAudioTrack, "create_audio_track", _create_audio_track),
        HookPlace(rtc.Room, "connect", _connect),
        HookPlace(io.AudioOutput, "on_playback_started", _on_playback_started),
    )


_hooks = Hooks(_places)
