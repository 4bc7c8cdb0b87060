"""The caller arrives: what the trace learns of them, whose account they name, and whether it is they who listen.

Between `firstword.agent.call.caller`, which finds them in the room, and the account.
"""

from __future__ import annotations

import asyncio
import logging

from livekit import rtc
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from firstword.agent.accounts.identity import Identity, account_hash, caller_identity, may_write
from firstword.agent.call.call import Call
from firstword.agent.call.caller import Caller, until_only_others
from firstword.agent.call.standing import is_known
from firstword.telemetry.vocabulary import ACCOUNT_HASH, EDGE_CALLER, PARTICIPANT_KIND

logger = logging.getLogger("firstword")


def caller_arrived(call: Call, caller: Caller) -> int:
    """This is the call's caller. Returns when they joined, ns on the run's clock."""
    call.limits.caller_arrived(caller)
    kind = caller.participant.kind
    if not is_known(kind):
        logger.warning("the caller is of a kind that LiveKit's agents do not expect: %d", kind)
    call.run.attributes[PARTICIPANT_KIND] = (
        rtc.ParticipantKind.Name(kind) if kind in rtc.ParticipantKind.values() else str(kind)
    )
    link_sender(call, _identity_in(caller))
    if call.ear is not None:
        call.ear.listen_to(caller.identity)
    call.caller.set_result(caller)
    return call.run.caller_joined(caller.joined or call.run.clock())


def identity_of(call: Call, caller: Caller) -> Identity:
    """What the caller's attributes say of the account."""
    identity = _identity_in(caller)
    note_account(call, identity)
    return identity


def note_account(call: Call, identity: Identity) -> None:
    """Tell the trace whose account is named, as a hash, and what was wrong with how it is named."""
    for problem in identity.problems:
        call.run.event("account.rejected", {"reason": problem})
        logger.warning("what names the account is not taken: %s", problem)
    if identity.account is not None:
        hashed = account_hash(identity.account, call.process.settings.account_key)
        if hashed is not None:
            call.run.attributes[ACCOUNT_HASH] = hashed


def link_sender(call: Call, identity: Identity) -> None:
    """Link the sender's own trace, whether or not it is they who name the account."""
    if identity.traceparent is not None:
        sender = TraceContextTextMapPropagator().extract({"traceparent": identity.traceparent}, Context())
        call.trace.link(otel.get_current_span(sender).get_span_context(), EDGE_CALLER)


async def listener(call: Call) -> Caller | None:
    """Who subscribed to the voice: the caller, or None as soon as those who are announced are no callers."""
    others = asyncio.ensure_future(until_only_others(call.job.room))
    try:
        await asyncio.wait({call.caller, others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        others.cancel()
    return call.caller.result() if call.caller.done() else None


def _identity_in(caller: Caller) -> Identity:
    participant = caller.participant
    return caller_identity(participant.kind, participant.attributes, may_write(participant))
