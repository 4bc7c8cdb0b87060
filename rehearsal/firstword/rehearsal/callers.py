"""The synthetic caller: a real LiveKit client with a microphone and an ear, the far end of every rehearsed session.

What a caller hears, and when, is measured here and nowhere else. It is the time from calling connect to the agent's first frame with a peak
above -36 dBFS. Any track of the agent counts, except background audio. Conversation tests use the same caller to speak, to record, to hang
up and to come back.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from typing import NamedTuple, TypeAlias

import numpy as np
from livekit import api, rtc
from livekit.rtc.participant import PublishTrackError
from numpy.typing import NDArray

from firstword.rehearsal.stack import Stack

Samples: TypeAlias = NDArray[np.int16]

EAR_RATE = 48_000
"""Sample rate of what a caller hears, in Hz: WebRTC's own rate, so nothing is resampled."""
MICROPHONE_RATE = 16_000
"""Sample rate of what a caller says, in Hz."""
BACKGROUND = "background_audio"
"""LiveKit's name for the track of a BackgroundAudioPlayer (livekit-agents 1.8.9): a quiet room is no word of an agent's."""
AUDIBLE = round(32_768 * 10 ** (-36 / 20))
"""Amplitude above which a peak counts as heard: -36 dBFS."""

_STATE = "lk.agent.state"
"""LiveKit's name for the attribute that has the state of an agent's session (livekit-agents 1.8.9)."""
_LOOK_EVERY_S = 0.05
_CHUNK = MICROPHONE_RATE // 10
"""Samples pushed into the microphone at a time: few calls, since callers share the cores with what they measure."""
_SPOKEN_PEAK = 12_000
_HISS_PEAK = 4
"""Very soft noise, far below `AUDIBLE`: a microphone that is there, and nobody speaking."""


class EarFrame(NamedTuple):
    """One frame of the agent's sound at the caller's ear."""

    at: float
    """When it arrived, on `time.monotonic()`."""
    samples: Samples
    """Mono, at `EAR_RATE` Hz."""


def join_token(
    stack: Stack,
    *,
    room: str,
    identity: str,
    agent_name: str | None = None,
    metadata: str = "",
    attributes: dict[str, str] | None = None,
) -> str:
    """Returns a caller's token for `room`. With an `agent_name` it dispatches that agent (`join`), with `metadata` as
    the job's.

    `attributes` become the caller's, who has no grant to change them.
    """
    token = (
        api.AccessToken(stack.api_key, stack.api_secret)
        .with_identity(identity)
        .with_attributes(attributes or {})
        .with_grants(api.VideoGrants(room_join=True, room=room, can_update_own_metadata=False))
    )
    if agent_name is not None:
        dispatch = api.RoomAgentDispatch(agent_name=agent_name, metadata=metadata)
        token = token.with_room_config(api.RoomConfiguration(agents=[dispatch]))
    return token.to_jwt()


class RehearsalCaller:
    """One simulated caller: `connect`, then `hear`, `say` and `leave` at will; to `connect` again is to come back.

    With `record` every frame of the agent's voice is kept; otherwise the caller stops listening at the first audible
    one.
    """

    microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)

    def __init__(self, url: str, token: str, *, record: bool = False) -> None:
        self._url, self._token, self._record = url, token, record
        self._frames: dict[tuple[str, str], list[EarFrame]] = {}
        self._spoken: deque[tuple[Samples, asyncio.Future[float]]] = deque()
        self._room: rtc.Room | None = None
        self._source: rtc.AudioSource | None = None
        self._called_at = 0.0
        self._connecting: asyncio.Future[None] | None = None
        self._first_heard_at: asyncio.Future[float] | None = None
        self._last_heard_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def heard_on(self, track: str) -> list[EarFrame]:
        """Returns the frames heard on the agent's tracks of that name, in time order; empty without `record`."""
        return sorted((frame for frames in self.streams_on(track) for frame in frames), key=lambda frame: frame.at)

    def streams_on(self, track: str) -> list[list[EarFrame]]:
        """Returns the frames heard on the agent's tracks of that name, one list for each track.

        An agent whose connection was lost publishes anew, and for a while both tracks are heard.
        """
        return [list(frames) for (name, _), frames in self._frames.items() if name == track]

    def voice(self) -> Samples:
        """Returns all samples that were heard of the agent, one track after the other; empty without `record`."""
        spoken = [frame.samples for frames in self._frames.values() for frame in frames]
        return np.concatenate([np.zeros(0, np.int16), *spoken])

    async def hear_out(self, pause: float) -> None:
        """Waits until the agent, who has been heard, has said nothing for `pause` seconds; needs `record`."""
        while (quiet := time.monotonic() - self._last_heard_at) < pause:  # noqa: ASYNC110 - it is time that is waited for
            await asyncio.sleep(pause - quiet)

    async def hear_again(self, within: float) -> float:
        """Waits for the next audible frame from now on; needs `record`. Returns the seconds until then.

        Raises TimeoutError when nothing was heard `within` seconds.
        """
        since = time.monotonic()
        async with asyncio.timeout(within):
            while self._last_heard_at <= since:  # noqa: ASYNC110 - frames come at their own time
                await asyncio.sleep(_LOOK_EVERY_S)
        return self._last_heard_at - since

    @property
    def room(self) -> rtc.Room:
        """Returns the room the caller is in. Raises RuntimeError outside of one."""
        if self._room is None:
            raise RuntimeError("the caller is in no room")
        return self._room

    async def connect(self) -> None:
        """Joins the room and publishes the microphone; `hear` counts from calling this.

        Raises `rtc.ConnectError` when the server can't be reached, refuses the token, or does not take the microphone
        in time. Raises RuntimeError when the caller is in a room already.
        """
        if self._room is not None:
            raise RuntimeError("the caller is in a room already")
        self._source = rtc.AudioSource(MICROPHONE_RATE, 1, queue_size_ms=200)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        self._first_heard_at = asyncio.get_running_loop().create_future()
        self._room = self._new_room()
        self._called_at = time.monotonic()
        self._connecting = asyncio.ensure_future(self._room.connect(self._url, self._token))
        await asyncio.shield(self._connecting)
        try:
            await self._room.local_participant.publish_track(track, self.microphone)
        except PublishTrackError as error:
            raise rtc.ConnectError(error.message) from None
        self._start(self._speak(self._source))

    def _new_room(self) -> rtc.Room:
        """Returns the room to connect to. Whoever listens in it has to from the start: the agent may speak before
        `connect` returns.
        """
        room = rtc.Room()
        room.on("track_subscribed", self._listen_to)  # pyright: ignore[reportUnknownMemberType]  # rtc's callbacks are untyped
        return room

    async def hear(self, within: float) -> float:
        """Waits for the first audible frame since `connect`. Returns its seconds since `connect` was called.

        Raises TimeoutError when nothing was heard `within` seconds from now.
        """
        return await self.heard_at(within) - self._called_at

    async def heard_at(self, within: float) -> float:
        """Waits for the first audible frame since `connect`, as `hear` does. Returns its instant on `time.monotonic()`."""
        if self._first_heard_at is None:
            raise RuntimeError("the caller has not connected")
        async with asyncio.timeout(within):
            return await asyncio.shield(self._first_heard_at)

    async def agent_listens(self, seconds: float) -> None:
        """Waits until an agent has listened for so many seconds: it has a voice in the room, and neither starts, thinks nor speaks."""
        since = None
        while since is None or time.monotonic() - since < seconds:
            if not any(_listens(participant) for participant in self.room.remote_participants.values()):
                since = None
            elif since is None:
                since = time.monotonic()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def say(self, frequency_hz: float, seconds: float) -> float:
        """Speaks a tone of that frequency. Returns as `speak` does."""
        wave = np.sin(2 * np.pi * frequency_hz / MICROPHONE_RATE * np.arange(round(seconds * MICROPHONE_RATE)))
        return await self.speak((_SPOKEN_PEAK * wave).astype(np.int16))

    async def speak(self, samples: Samples) -> float:
        """Speaks samples, mono at `MICROPHONE_RATE` Hz, once the microphone's queue has taken them all.

        Returns the instant on `time.monotonic()` at which the last one leaves the queue: up to 0.3 s from now.
        """
        said: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._spoken.append((samples, said))
        return await said

    async def leave(self) -> None:
        """Hangs up; does nothing outside of a room."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._connecting is not None:  # rtc cannot cancel a connect: it would go on with nobody to end it
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._room is not None:
            room, self._room = self._room, None
            await room.disconnect()
        if self._source is not None:
            source, self._source = self._source, None
            await source.aclose()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def _speak(self, source: rtc.AudioSource) -> None:
        """Keep the microphone going: what is to be said, else hiss. The source's short queue sets the pace."""
        hiss = np.random.default_rng(0).integers(-_HISS_PEAK, _HISS_PEAK, _CHUNK, dtype=np.int16, endpoint=True)
        while True:
            if not self._spoken:
                await _capture(source, hiss)
                continue
            samples, said = self._spoken.popleft()
            for begin in range(0, len(samples), _CHUNK):
                await _capture(source, samples[begin : begin + _CHUNK])
            if not said.done():  # who spoke may wait no more
                said.set_result(time.monotonic() + source.queued_duration)

    def _listen_to(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        """An agent's audio track has come; other callers are not listened to, and no background audio."""
        if publication.name == BACKGROUND:
            return
        if track.kind == rtc.TrackKind.KIND_AUDIO and participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            self._start(self._listen(rtc.AudioStream(track, sample_rate=EAR_RATE), (publication.name, publication.sid)))

    async def _listen(self, stream: rtc.AudioStream, track: tuple[str, str]) -> None:
        first = self._first_heard_at
        try:
            async for event in stream:
                at = time.monotonic()
                samples = np.frombuffer(event.frame.data, dtype=np.int16)
                if self._record:
                    self._frames.setdefault(track, []).append(EarFrame(at, samples.copy()))
                if np.abs(samples.astype(np.int32)).max(initial=0) > AUDIBLE:
                    self._last_heard_at = at
                    if first and not first.done():
                        first.set_result(at)
                if first and first.done() and not self._record:
                    return
        finally:
            await stream.aclose()


def _listens(participant: rtc.RemoteParticipant) -> bool:
    """Whether it is an agent that waits for the caller. What LiveKit's session does is an attribute; an agent without one says nothing."""
    return (
        participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        and any(track.kind == rtc.TrackKind.KIND_AUDIO for track in participant.track_publications.values())
        and participant.attributes.get(_STATE, "listening") in ("idle", "listening")
    )


async def _capture(source: rtc.AudioSource, samples: Samples) -> None:
    await source.capture_frame(rtc.AudioFrame(samples.tobytes(), MICROPHONE_RATE, 1, len(samples)))
