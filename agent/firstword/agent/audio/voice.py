"""The agent's voice: an audio output that is published before the caller comes, and speaks before LiveKit's session
exists.

With `light-connect` the plan's `voice` task publishes it right after the connect; the session, started later, takes it
over as its own output. A greeting that has begun goes on: the session says the rest of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice.room_io import AudioOutputOptions
from livekit.agents.voice.speech_handle import SpeechHandle

from firstword.agent import livekit_private
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.telemetry.clock import Clock

if TYPE_CHECKING or livekit_private.audio_is_known():
    from firstword.agent.audio.early_output import EarlyOutput

QUEUE_MS = 600
"""Milliseconds of audio in the track's queue. For so long starting the session may keep the loop busy, and nobody hears
a gap.
"""


HEAD_S = 0.4
"""Seconds of a speech that are queued before it counts as begun: the loop is busy after the first word."""

ON_THE_WAY_S = 0.04
"""Seconds from the first frame to the caller's ear. For so long the work after the first word leaves the cores idle."""


class Voice:
    """An audio track in the room, and what is played on it until a session takes it over."""

    def __init__(self, room: rtc.Room, options: AudioOutputOptions | None = None) -> None:
        """Makes the track, which `publish` publishes. options: as what it is published, by default LiveKit's; its rate
        is `SAMPLE_RATE`.
        """
        self.output = EarlyOutput(room, options or AudioOutputOptions(), sample_rate=SAMPLE_RATE, queue_ms=QUEUE_MS)
        self._starting: asyncio.Task[None] | None = None

    async def publish(self) -> None:
        """Publishes the track and returns once it is published."""
        self._starting = asyncio.create_task(self.output.start(), name="voice")
        published = asyncio.ensure_future(self.output.published.wait())
        await asyncio.wait({published, self._starting}, return_when=asyncio.FIRST_COMPLETED)
        if not published.done():
            published.cancel()
            await self._starting

    async def subscribed(self) -> None:
        """Waits until somebody has subscribed to the track. LiveKit does not say who."""
        await asyncio.shield(self.output.subscribed)

    async def aclose(self) -> None:
        """Ends the track and stops playing."""
        if self._starting is not None:
            self._starting.cancel()
        await self.output.aclose()


class Speech:
    """A greeting that is played on the voice right away, and that a session takes over at any point, even within a
    word.

    text: whole, or piece by piece as it is known. frames: its audio, at the voice's rate. clock: the run's. Nothing is
    said twice and nothing is left out.
    """

    def __init__(
        self, voice: Voice, text: str | AsyncIterable[str], frames: AsyncIterator[rtc.AudioFrame], clock: Clock
    ) -> None:
        self._voice = voice
        self._text = text
        self._frames = aiter(frames)
        self._clock = clock
        self._begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._taken = asyncio.Event()
        self._speaking = asyncio.create_task(self._speak(), name="greeting")

    async def begun(self) -> int:
        """Waits until `HEAD_S` seconds of the speech are queued, or all there is. Returns the instant of its first
        frame, ns on the clock.

        Raises what the frames raised before that, and EmptySpeech if there were none.
        """
        done, _ = await asyncio.wait({self._begun, self._speaking}, return_when=asyncio.FIRST_COMPLETED)
        if self._begun not in done and self._speaking.exception() is None:
            raise EmptySpeech("the greeting has no audio")
        if self._begun not in done:
            await self._speaking
        return self._begun.result()

    def hand_over(self, session: AgentSession[Any]) -> SpeechHandle:
        """Lets the session say the rest, and returns its speech handle. The text enters its chat context, and the
        caller can interrupt it.
        """
        return session.say(self._text, audio=self._rest())

    async def stop(self) -> None:
        """Stops the speech, and drops the audio that is queued."""
        self._taken.set()
        self._speaking.cancel()
        await asyncio.gather(self._speaking, return_exceptions=True)
        self._voice.output.drop_queue()

    async def _speak(self) -> None:
        began, queued = 0, 0.0
        async for frame in self._frames:
            began = began or self._clock()
            await self._voice.output.push(frame)
            queued += frame.duration
            if queued >= HEAD_S and not self._begun.done():
                self._begun.set_result(began)
            if self._taken.is_set():
                return
        if began and not self._begun.done():
            self._begun.set_result(began)

    async def _rest(self) -> AsyncIterator[rtc.AudioFrame]:
        self._taken.set()
        await asyncio.gather(self._speaking, return_exceptions=True)
        left = False
        async for frame in self._frames:
            left = True
            yield frame
        if not left:  # a speech without audio would never end
            yield rtc.AudioFrame.create(SAMPLE_RATE, 1, SAMPLE_RATE // 50)


class EmptySpeech(Exception):
    """Raised for a greeting whose audio has not a single frame."""
