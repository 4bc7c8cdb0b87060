"""The caller of the session tests: speaks recorded words, reads the transcripts, and hears whether a speech was whole."""

from __future__ import annotations

import asyncio
import time
import wave
from importlib.resources import files
from pathlib import Path

import numpy as np
from livekit import rtc
from livekit.agents.types import TOPIC_TRANSCRIPTION

from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.rehearsal.alignment import Alignment, align
from firstword.rehearsal.callers import AUDIBLE, EAR_RATE, MICROPHONE_RATE, RehearsalCaller
from tests.calls.sent import VOICE_TRACK, Samples
from tests.calls.waiting import PATIENCE, until

SPEECH = Path(str(files("firstword.agent.greeting"))) / "sounds" / "hello.wav"
"""Words for a caller to say."""
EDGE = 0.1
"""Seconds of a speech's beginning, and of its end, that an ear may miss: half a syllable. There what the transport loses
can't be told from what was not sent.
"""
PAUSE = 0.7
"""Seconds of silence after which a speech may have ended."""


class Speaker(RehearsalCaller):
    """A caller who can also play recorded speech, and reads the transcripts."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url, token, record=True)
        self.texts: list[str] = []
        self._listened_to = False
        self._voice: list[tuple[float, bool]] = []

    async def play(self, file: Path) -> None:
        """Speak what is in a WAV file, mono with 16 bits; returns when the microphone has its last sample."""
        with wave.open(str(file), "rb") as sound:
            rate, samples = sound.getframerate(), np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
        at = np.arange(0, len(samples), rate / MICROPHONE_RATE)
        await self.speak(np.interp(at, np.arange(len(samples)), samples).astype(np.int16))

    async def connect(self) -> None:
        """Join, and note when the agent listens."""
        await super().connect()
        self._listened_to = False
        self._start(self._await_listener())

    def _new_room(self) -> rtc.Room:
        """One in which transcripts are read."""
        room = super()._new_room()
        room.register_text_stream_handler(TOPIC_TRANSCRIPTION, self._on_text)
        return room

    async def _await_listener(self) -> None:
        (microphone,) = self.room.local_participant.track_publications.values()
        await microphone.wait_for_subscription()
        self._listened_to = True

    def _on_text(self, reader: rtc.TextStreamReader, _: str) -> None:
        self.texts.append("")
        place = len(self.texts) - 1

        async def read() -> None:
            async for words in reader:  # the agent's, as they are spoken
                self.texts[place] += words

        self._start(read())

    async def reads(self, *texts: str) -> None:
        """Wait until a transcript, of the agent's words or of ours, holds one of these. TimeoutError names what was read."""
        try:
            await until(lambda: any(text in each for text in texts for each in self.texts))
        except TimeoutError:
            raise TimeoutError(f"none of {texts} is in {self.texts}") from None

    async def meets_agent(self) -> None:
        """Wait until the agent is in the room."""
        await until(lambda: bool(self.room.remote_participants))

    async def is_seen(self) -> None:
        """Wait until the agent knows that we are there: it has subscribed to our microphone, or we to its voice."""
        await until(lambda: self._listened_to or bool(self._voices()))

    async def subscribes(self) -> None:
        """Wait until the agent's voice is subscribed to."""
        await until(lambda: bool(self._voices()))

    def _voices(self) -> list[rtc.RemoteTrackPublication]:
        participants = self.room.remote_participants.values()
        publications = [each for participant in participants for each in participant.track_publications.values()]
        return [each for each in publications if each.name == VOICE_TRACK and each.track is not None]

    @property
    def heard_anything(self) -> bool:
        """Whether the agent's voice has been audible."""
        return any(audible for _, audible in self._loudness())

    async def silence(self) -> None:
        """Wait until the agent has said something, and then nothing for `PAUSE`. A transport that starves pauses likewise."""

        def silent() -> bool:
            audible = [at for at, loud in self._loudness() if loud]
            return bool(audible) and time.monotonic() - audible[-1] >= PAUSE

        await until(silent)

    async def hears(self, speech: Samples, *, since: float = 0.0) -> None:
        """Wait until this speech has been heard to its end, after `since` (`time.monotonic()`); it was from its beginning, and once.

        AssertionError says what is missing. Holes are not looked at: where they come from, what arrives cannot tell.
        """
        found = None
        try:
            async with asyncio.timeout(PATIENCE):
                while found is None or found.end > EDGE:
                    await asyncio.sleep(PAUSE)  # more may have come
                    await self.silence()
                    found = await asyncio.to_thread(self._best, speech, since)
        except TimeoutError:
            raise AssertionError(f"not heard to its end: {found}") from None
        assert found.beginning <= EDGE, found
        assert found.extra < found.sent / 2, found

    def _best(self, speech: Samples, since: float) -> Alignment:
        """What is missing on the track on which least of it is: LiveKit publishes anew where its connection was lost."""
        streams = [[each.samples for each in frames if each.at > since] for frames in self.streams_on(VOICE_TRACK)]
        found = [align(speech, SAMPLE_RATE, np.concatenate(frames), EAR_RATE) for frames in streams if frames]
        return min(found, key=lambda each: each.missing)

    def _loudness(self) -> list[tuple[float, bool]]:
        """(when, whether it was audible) of each frame on the agent's voice's track, in order."""
        self._voice += [
            (frame.at, bool(np.abs(frame.samples.astype(np.int32)).max(initial=0) > AUDIBLE))
            for frame in self.heard_on(VOICE_TRACK)[len(self._voice) :]
        ]
        return self._voice
