"""How a call of the shipped worker ends: what is written to the store, and what its assistant ends it with.

Called by `firstword.agent.entrypoint` when the start and when the job has ended; on top of
`firstword.agent.call.ending`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from firstword.agent.account_call.account_call import AccountCall
from firstword.agent.accounts.account_store import StoreError
from firstword.agent.accounts.model import SessionRow
from firstword.agent.call import ending
from firstword.agent.call.limits import End
from firstword.agent.conversation.tools import HangUp
from firstword.agent.process import start_metrics
from firstword.telemetry.guard import guarded
from firstword.telemetry.metrics import StartFigures

logger = logging.getLogger("firstword")


@guarded
def send_figures(call: AccountCall) -> None:
    """Sends the figures of the call's start, and the number of newly dropped spans, to the worker. Logs an error
    instead of raising it.
    """
    start_metrics.send(StartFigures.of(call.run.record(), call.trace.context))
    start_metrics.send_dropped(call.process.exporting.newly_dropped())


def hang_up(call: AccountCall) -> HangUp:
    """Returns a function without parameters that ends this call on behalf of the assistant."""
    return partial(ending.end, call, End.BY_ASSISTANT)


def row_of(call: AccountCall) -> SessionRow:
    """Returns the session's row for the store, with the fields that are known when the session has started."""
    return SessionRow(
        id=call.job.job.id, account=call.owner.id or None, started=call.began, flags=call.flags.variants()
    )


def sent_by_participants(call: AccountCall) -> dict[str, int]:
    """Returns counts of what participants sent beside their voices: data packets, ignored keys, refused answers, other
    participants.
    """
    keypad = call.conversation.keypad if call.conversation else None
    return {
        "data_packets": call.events.counts["data_received"],
        "keys_ignored": keypad.ignored if keypad else 0,
        "answers_refused": call.allowance.refused,
        "participants": call.conversation.others if call.conversation else 0,
    }


async def close(call: AccountCall, reason: str) -> None:
    """Ends the call when the job ends: writes the session's row and its resumption data, and closes what the call
    opened.

    reason: LiveKit's, used if neither the call nor the room tells why it ended. Spans are exported when the process
    ends.
    """
    store = call.process.store
    ended = ending.closes(call, reason)
    talk = call.conversation
    turns, errors = (talk.turns, talk.errors) if talk else (0, 0)
    row = replace(row_of(call), first_word=call.run.record().ttfw, ended=ended, turns=turns, errors=errors)
    if any((counts := sent_by_participants(call)).values()):
        logger.info("beside their voices participants sent something", extra=counts)
    async with call.closing:
        await _write(call, "row", store.record_session(row))
        last = talk and talk.last_session(call.now())
        if last and call.owner.id and call.remembers:
            await _write(call, "resumption data", store.save_last_session(call.owner.id, last))


async def _write(call: AccountCall, what: str, writing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(call.process.settings.store_deadline):
            await writing
    except (StoreError, TimeoutError):
        logger.warning("the session's %s could not be written", what)
