"""Options of the shipped worker's session: how it works in the room, and how it listens to the caller.

Under the plan's `room_options` task, and before the connect; `firstword.agent.call.session_start` starts the session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, cast

from livekit.agents import AgentSession
from livekit.agents.voice import room_io

from firstword.agent import livekit_private
from firstword.agent.conversation.allowance import Allowance
from firstword.agent.flags.improvements import Flags, Improvement
from firstword.agent.settings import Settings

logger = logging.getLogger("firstword")

MOST_TEXT: Final = 1_000
"""Characters of a participant's text that is answered. A longer text is cut."""


def options_of(flags: Flags, allowance: Allowance) -> room_io.RoomOptions:
    """Returns LiveKit's options for the session in the room: all of them, or with `lazy-room-options` only those that
    differ from LiveKit's defaults.

    allowance: limits the answers to texts that participants send.
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


def audio_input(settings: Settings) -> room_io.AudioInputOptions:
    """Returns LiveKit's options for listening to the caller: with noise cancellation if the settings want it."""
    wanted = settings.noise_cancellation == "bvc"
    return room_io.AudioInputOptions(noise_cancellation=noise_cancellation if wanted else None)


def noise_cancellation(_: object) -> Any:
    """Returns noise cancellation for one track. If it can't be had, logs a warning and returns None: the caller is
    heard without.
    """
    try:
        return livekit_private.noise_cancellation()
    except Exception as error:
        logger.warning("the caller is heard without noise cancellation (%s)", type(error).__qualname__)
        return None
