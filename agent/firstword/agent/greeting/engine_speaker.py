"""Says greetings with any engine of LiveKit's: a TTS, or a realtime model, which is asked to say just the text.

For the parts of the shipped worker that a user replaced (`firstword.agent.parts`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from livekit import rtc
from livekit.agents import APIError, llm

from firstword.agent.audio.speaking import recorded
from firstword.agent.greeting.engine import Engine, said_by
from firstword.agent.greeting.session_recorder import is_verbatim


class OtherWords(APIError):
    """Raised when a realtime model said something else than the text, which nobody keeps."""

    def __init__(self) -> None:
        super().__init__("the model said something else than the text", retryable=False)


class EngineSpeaker:
    """A `Speaker` of one engine.

    key: returns the engine's voice as a text, or None. choose: sets the engine to an account's voice. instructions: by
    which a realtime model speaks.
    """

    def __init__(
        self,
        engine: Engine,
        key: Callable[[Engine], str | None],
        choose: Callable[[Engine, str], object],
        instructions: str,
    ) -> None:
        self.engine: Final = engine
        self._key = key
        self._choose = choose
        self._instructions = instructions
        self._strayed = False
        """Whether the model has just said something else than the text."""

    @property
    def voice(self) -> str | None:
        """Returns the key of the voice that speaks now. None if it cannot be read, or a model has just said something
        else than the text.
        """
        return None if self._strayed else self._key(self.engine)

    def speak_as(self, voice: str) -> None:
        """Chooses the voice that speaks from now on; empty: the engine's usual one."""
        self._strayed = False
        self._choose(self.engine, voice)

    async def spoken(self, text: str, *, patience: float) -> AsyncIterator[rtc.AudioFrame]:
        """Yields the text's audio frame by frame. Raises what the engine raises.

        patience: seconds that a TTS may make no sound after its first frame.
        """
        said: list[str] = []
        async for frame in said_by(self.engine, text, self._instructions, said.append, patience=patience):
            yield frame
        self._strayed = not is_verbatim("".join(said) or text, text)

    async def recorded(self, text: str) -> list[rtc.AudioFrame]:
        """Waits until the whole text has been said, and returns its frames. Raises LiveKit's APIError, OtherWords
        among them.
        """
        if not isinstance(self.engine, llm.RealtimeModel):
            return await recorded(self.engine, text)
        frames = [frame async for frame in self.spoken(text, patience=0.0)]
        if self._strayed:
            raise OtherWords
        return frames

    async def aclose(self) -> None:
        """Closes the engine's connections."""
        await self.engine.aclose()
