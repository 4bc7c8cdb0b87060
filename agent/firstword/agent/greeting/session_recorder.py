"""Records what a realtime model says, without a room: in a session of its own whose output keeps the frames.

Under `firstword.agent.greeting.engine`. A realtime model has no call that makes sound of a text: it speaks in a session
only.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, llm, utils
from livekit.agents.voice import io

from firstword.agent.audio.speaking import SAMPLE_RATE, AtVoiceRate
from firstword.agent.livekit_private import HTTP_CONTEXT

VERBATIM = "Say exactly this, and nothing else: {text}"


class SessionRecorder(io.AudioOutput):
    """An audio output that puts each frame of a session into a queue, and tells the session at once that it has been
    played.
    """

    def __init__(self) -> None:
        # `pause`, since a session warns of an output that can't
        super().__init__(
            label="firstword", capabilities=io.AudioOutputCapabilities(pause=True), sample_rate=SAMPLE_RATE
        )
        self.frames = asyncio.Queue[rtc.AudioFrame | None]()
        """The frames that were said. `said_by_model` appends None at their end."""
        self._played = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Takes the next frame of the speech from the session, and puts it into the queue `frames`."""
        await super().capture_frame(frame)
        if not self._played:
            self.on_playback_started(created_at=time.time())
        self._played += frame.duration
        self.frames.put_nowait(frame)

    def flush(self) -> None:
        """Called by the session when a speech is complete: reports that it has been played."""
        super().flush()
        self._finish(interrupted=False)

    def clear_buffer(self) -> None:
        """Called by the session when a speech is interrupted: reports how much of it has been played."""
        self._finish(interrupted=True)

    def _finish(self, *, interrupted: bool) -> None:
        if self._played:
            self.on_playback_finished(playback_position=self._played, interrupted=interrupted)
            self._played = 0.0


async def said_by_model(
    model: llm.RealtimeModel, text: str, instructions: str, told: Callable[[str], object]
) -> AsyncIterator[rtc.AudioFrame]:
    """Yields the text's audio as the model says it, frame by frame, mono at `SAMPLE_RATE`. Raises what LiveKit raises.

    told: called after the last frame with what was said, which may differ from the text. It is empty for a model that
    makes no text.
    """
    recorder = SessionRecorder()
    # a context of its own: the job's is for the caller's session, which would not be the first one in it else
    context = contextvars.Context()
    http: contextvars.ContextVar[object] | None = HTTP_CONTEXT.load()
    jobs = None if http is None else http.get(None)
    if http is not None and jobs is not None:  # the model keeps the HTTP session that it was first used in
        context.run(http.set, jobs)
    opened = utils.http_context.open() if jobs is None else contextlib.nullcontext()
    speaking = asyncio.create_task(
        _say(model, text, instructions, recorder, opened), name="greeting by the model", context=context
    )
    speaking.add_done_callback(lambda _: recorder.frames.put_nowait(None))
    rate = AtVoiceRate()
    try:
        while (frame := await recorder.frames.get()) is not None:
            for each in rate.of(frame):
                yield each
        for each in rate.rest():
            yield each
        told(await speaking)
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


async def _say(
    model: llm.RealtimeModel,
    text: str,
    instructions: str,
    recorder: SessionRecorder,
    http: AbstractAsyncContextManager[object],
) -> str:
    """Returns what was said. http: in which the model may ask for an HTTP session."""
    async with http:
        session = AgentSession[Any](llm=model)
        session.output.audio = recorder
        await session.start(Agent(instructions=instructions), record=False)
        try:
            if model.capabilities.supports_say:
                speech = session.say(text)
            else:
                speech = session.generate_reply(instructions=VERBATIM.format(text=text))
            await speech.wait_for_playout()
            items = [item for item in speech.chat_items if isinstance(item, llm.ChatMessage)]
            return " ".join(item.text_content or "" for item in items)
        finally:
            await session.aclose()


def is_verbatim(said: str, text: str) -> bool:
    """Returns whether both texts are the same but for case, blanks and punctuation."""
    one, other = ("".join(filter(str.isalnum, each.casefold())) for each in (said, text))
    return one == other
