"""Plays sound behind the agent's voice: a quiet room, and typing while the assistant thinks.

Deferred by default: it is a second audio track to publish, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, AudioConfig, BackgroundAudioPlayer, BuiltinAudioClip

_UNPUBLISH_S = 0.5
"""In livekit-agents 1.8.9 unpublishing, the last step of closing the player, never returns once the room is gone."""


async def start_background_audio(room: rtc.Room, session: AgentSession[Any]) -> Callable[[], Awaitable[None]]:
    """Publishes a track of background sound and starts to play it. Returns an async function that ends it."""
    player = BackgroundAudioPlayer(
        ambient_sound=AudioConfig(BuiltinAudioClip.OFFICE_AMBIENCE, volume=0.3),
        thinking_sound=AudioConfig(BuiltinAudioClip.KEYBOARD_TYPING, volume=0.3),
    )
    await player.start(room=room, agent_session=session)

    async def end() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNPUBLISH_S):
                await player.aclose()

    return end
