"""How a call ends: what the caller is told, what is written, what is closed.

Called by `firstword.agent.entrypoint` when the start and when the job has ended, and by a session that failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace

from firstword.agent.accounts.model import SessionRow
from firstword.agent.accounts.store import StoreError
from firstword.agent.audio.voice import Voice
from firstword.agent.call.call import Call
from firstword.agent.conversation.apology import apologize
from firstword.agent.process import start_metrics
from firstword.telemetry.guard import guarded
from firstword.telemetry.metrics import Figures
from firstword.telemetry.record import Outcome

logger = logging.getLogger("firstword")


@guarded
def send_figures(call: Call) -> None:
    """Tell the worker how the start went, and how many spans were dropped."""
    start_metrics.send(Figures.of(call.run.record(), call.trace.context))
    start_metrics.send_dropped(call.process.exporting.newly_dropped())


async def give_up(call: Call, voice: Voice | None, part: str) -> None:
    """LiveKit has closed the session for too many errors of a provider: tell the caller, end the job.

    part: of the conversation, the one that failed.
    """
    try:
        await apologize(call.job.room, voice)
    except Exception as error:  # gone or deaf: either way there is nothing more to be said
        logger.warning("the caller could not be told that the conversation failed: %s", type(error).__qualname__)
    call.run.stop(Outcome.FAILED)
    call.job.shutdown(reason=f"conversation failed: {part}")


def row_of(call: Call) -> SessionRow:
    """The session's row, as far as it is known by now."""
    return SessionRow(
        id=call.job.job.id, account=call.owner.id or None, started=call.began, flags=call.flags.variants()
    )


def sent_by_participants(call: Call) -> dict[str, int]:
    """What participants sent beside their voices, counted: packets, keys that did not count, answers they were refused."""
    keypad = call.conversation.keypad if call.conversation else None
    return {
        "data_packets": call.events.counts["data_received"],
        "keys_ignored": keypad.ignored if keypad else 0,
        "answers_refused": call.allowance.refused,
        "participants": call.conversation.others if call.conversation else 0,
    }


async def close(call: Call, reason: str) -> None:
    """The job ends: write how, close what the call opened. Its spans are exported when the process ends."""
    store = call.process.store
    row = replace(row_of(call), first_word=call.run.record().ttfw, ended=reason)
    if any((counts := sent_by_participants(call)).values()):
        logger.info("beside their voices participants sent something", extra=counts)
    async with call.closing:
        await _write(call, "row", store.record_session(row))
        last = call.conversation and call.conversation.last_session(call.now())
        if last and call.owner.id and call.remembers:
            await _write(call, "resumption data", store.save_last_session(call.owner.id, last))


async def _write(call: Call, what: str, writing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(call.process.settings.store_deadline):
            await writing
    except (StoreError, TimeoutError):
        logger.warning("the session's %s could not be written", what)
