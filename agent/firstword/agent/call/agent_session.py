"""LiveKit's session of a call: how it listens in the room, what it is made of, and what follows when it fails.

Under the plan's `room_options` and `session` tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, cast

from livekit.agents import AgentSession, CloseEvent, CloseReason
from livekit.agents.voice import room_io

from firstword.agent.audio.voice import Voice
from firstword.agent.call import ending
from firstword.agent.call.call import Call
from firstword.agent.conversation.allowance import Allowance
from firstword.agent.conversation.components import Components, session_of
from firstword.agent.conversation.conversation import SESSION_EVENTS
from firstword.agent.flags.improvements import Flags, Improvement
from firstword.telemetry.record import Outcome

MOST_TEXT: Final = 1_000
"""Characters of a text that is answered; what is longer is cut."""


def options_of(flags: Flags, allowance: Allowance) -> room_io.RoomOptions:
    """How the session works in the room: only what differs from LiveKit's defaults, or all of it.

    allowance: of answers to texts.
    """
    texts = room_io.TextInputOptions(text_input_cb=_answer_within(allowance))
    if Improvement.LAZY_ROOM_OPTIONS in flags:
        return room_io.RoomOptions(text_input=texts, close_on_disconnect=False)
    return room_io.RoomOptions(
        text_input=texts,
        audio_input=room_io.AudioInputOptions(),
        audio_output=room_io.AudioOutputOptions(),
        text_output=room_io.TextOutputOptions(),
        close_on_disconnect=False,
    )


def _answer_within(
    allowance: Allowance,
) -> Callable[[AgentSession[Any], room_io.TextInputEvent], Coroutine[None, None, None]]:
    """Answers a text as LiveKit does, but not at any length, nor at any rate."""
    answer = cast("Any", room_io.TextInputOptions()).text_input_cb

    async def answer_text(session: AgentSession[Any], event: room_io.TextInputEvent) -> None:
        text = event.text.strip()[:MOST_TEXT]
        if text and allowance.take():
            answering = answer(session, replace(event, text=text))
            if answering is not None:
                await answering

    return answer_text


def new_session(call: Call, components: Components, voice: Voice | None) -> AgentSession[Any]:
    """A session of these components, on the voice that is published already; its events are watched from now on."""
    session = session_of(components)
    if call.ear is not None:
        session.input.audio = call.ear
    if voice is not None:
        session.output.audio = voice.output
    call.events.watch(session, SESSION_EVENTS)

    def closed(event: CloseEvent) -> None:
        if event.reason is CloseReason.ERROR:
            part = "conversation" if event.error is None else event.error.type
            call.run.stop(Outcome.FAILED)
            ending.end(call, f"conversation failed: {part}", sorry=True)

    session.on("close", closed)
    return session
