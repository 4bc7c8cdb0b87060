"""Does what a fresh process does slowly the first time, so that its first caller does not wait for it.

Part of `firstword.agent.process.job_process`. A fresh process pays for every first use: lazy imports, TLS contexts,
LiveKit's native runtime. LiveKit's own preloading takes some of it; one dry start of a session, which talks to nobody,
takes the rest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Generator
from contextlib import contextmanager

from livekit.agents import utils

from firstword.agent.accounts.model import GENERIC
from firstword.agent.audio.refusals import Refusals
from firstword.agent.call import console
from firstword.agent.conversation.components import session_of
from firstword.agent.dry_start import start_dry
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.audio_cache import AudioCache
from firstword.agent.greeting.text import greeting_text
from firstword.agent.livekit_private import start_native_runtime
from firstword.agent.parts import WorkerParts
from firstword.agent.process.caches import Caches
from firstword.agent.settings import Settings

NOBODY = "http://127.0.0.1:9/v1"
"""URL of the discard port: whatever the dry start would connect to is refused at once."""

_NOISY = ("livekit.agents", "livekit.plugins.deepgram", "livekit.plugins.openai")


def dry_start(settings: Settings) -> None:
    """Starts a session without a room, an account or a provider, and closes it. Takes about a tenth of a second of CPU.

    Call it before the event loop of a job exists. Does nothing in a console, whose sound goes to the first session that
    starts. Raises what LiveKit raises when the session can't be started at all.
    """
    if console.here():
        return
    with _silenced():
        asyncio.run(_dry_start(settings.model_copy(update={"openai_base_url": NOBODY, "deepgram_base_url": NOBODY})))
    start_native_runtime()


async def _dry_start(settings: Settings) -> None:
    async with utils.http_context.open():
        made = WorkerParts(settings, Refusals(None))
        components = made.components()
        try:
            await start_dry(session_of(components, last_transcript=0.0), made.assistant(GENERIC, lambda: None))
        finally:
            await components.aclose()


async def first_reads(settings: Settings, caches: Caches) -> None:
    """Looks up an account and a greeting in the caches, as a start does. That saves the first start 5 to 7 ms. Raises
    nothing.
    """
    if caches.accounts is not None:
        await caches.accounts.get(("nobody",))
    if caches.speeches is not None:
        audio = AudioCache(caches.speeches, days=settings.cache_days)
        await greetings.look_up(greeting_text(GENERIC, time.time()), GENERIC, settings.tts_voice, audio)


@contextmanager
def _silenced() -> Generator[None]:
    # that nobody answers is the point, and no reason for a warning at each process's start
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
