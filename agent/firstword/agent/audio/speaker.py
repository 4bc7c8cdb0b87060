"""What says greetings with a session's engine, whichever that is: a TTS, or a realtime model.

Between engines and the greeting's audio. The shipped one is `firstword.agent.audio.synthesis`, any other
`firstword.agent.greeting.engine_speaker`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from livekit import rtc


class Speaker(Protocol):
    """Says texts in the voice of one account after the other. It belongs to one event loop."""

    @property
    def voice(self) -> str | None:
        """Returns a name of the voice that speaks now: the same for the same voice, whatever the process. None if it
        has none; then what it says can't be kept.
        """
        ...

    def speak_as(self, voice: str) -> None:
        """Chooses the voice that speaks from now on, as an account names it; empty: the usual one."""
        ...

    def spoken(self, text: str, *, patience: float) -> AsyncIterator[rtc.AudioFrame]:
        """Yields the text's audio frame by frame, mono at `SAMPLE_RATE`. Raises what the engine raises, and
        TimeoutError.

        patience: seconds that it may make no sound after its first frame.
        """
        ...

    async def recorded(self, text: str) -> list[rtc.AudioFrame]:
        """Waits until the whole text has been said, and returns its frames. Raises LiveKit's APIError."""
        ...

    async def aclose(self) -> None:
        """Closes the engine's connections."""
        ...
