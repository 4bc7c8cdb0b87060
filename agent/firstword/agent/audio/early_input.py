"""The agent's ear: an audio input that hears the caller before LiveKit's session exists; the session takes it over.

The counterpart of `firstword.agent.audio.early_output`, imported under the same condition. What the caller says
meanwhile waits in it, in order: first what their client recorded before it was connected, then what their microphone
sends.
"""

from __future__ import annotations

from livekit import rtc
from livekit.agents.voice.room_io._input import (
    _ParticipantAudioInputStream,  # pyright: ignore[reportPrivateUsage]
)
from livekit.agents.voice.room_io._pre_connect_audio import PreConnectAudioHandler
from livekit.agents.voice.room_io.types import AudioInputOptions


class EarlyInput(_ParticipantAudioInputStream):
    """LiveKit's own audio input of a room, made before the connect instead of when the session starts.

    RoomIO makes one in `session.start`. By then a caller who saw an active agent may have sent their recording, once,
    to nobody. Frames wait in it without limit, as in LiveKit's; a caller speaks one second a second.
    """

    def __init__(self, room: rtc.Room, options: AudioInputOptions) -> None:
        recording = None
        if options.pre_connect_audio:
            recording = PreConnectAudioHandler(room, timeout=options.pre_connect_audio_timeout)
            recording.register()
        super().__init__(
            room,
            sample_rate=options.sample_rate,
            num_channels=options.num_channels,
            frame_size_ms=options.frame_size_ms,
            noise_cancellation=options.noise_cancellation,
            auto_gain_control=_controls_gain(options),
            pre_connect_audio_handler=recording,
        )
        self._room_to_hear = room
        self._recording = recording
        room.on("track_published", self._published)

    @property
    def heard(self) -> str | None:
        """Returns the identity of the participant who is listened to; None before `listen_to`."""
        return self._participant_identity

    def listen_to(self, identity: str) -> None:
        """Listens to this participant from now on, and to nobody else. Drops what another one said and nobody has read
        yet.

        Subscribes to the participant's microphone, now and whenever they publish one.
        """
        if identity == self.heard:
            return
        while not self._data_ch.empty():
            self._data_ch.recv_nowait()
        self.set_participant(identity)
        if (participant := self._room_to_hear.remote_participants.get(identity)) is not None:
            for publication in participant.track_publications.values():
                self._published(publication, participant)

    async def aclose(self) -> None:
        """Stops listening and closes the input."""
        self._room_to_hear.off("track_published", self._published)
        await super().aclose()
        if self._recording is not None:
            await self._recording.aclose()

    def _published(self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self.heard and publication.kind == rtc.TrackKind.KIND_AUDIO:
            publication.set_subscribed(True)


def _controls_gain(options: AudioInputOptions) -> bool:
    """As RoomIO has it: where nobody says, unless noise cancellation does so itself."""
    if isinstance(options.auto_gain_control, bool):
        return options.auto_gain_control
    return options.noise_cancellation is None or callable(options.noise_cancellation)
