"""The caller arrives: what the trace learns of them, whose account they name, and whether it is they who listen.

Between `firstword.agent.call.caller`, which finds them in the room, and the account.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from livekit import rtc
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from firstword.agent.accounts.identity import (
    Access,
    Identity,
    account_hash,
    caller_identity,
    differ,
    may_write,
)
from firstword.agent.call.call import Call
from firstword.agent.call.caller import Caller, until_only_others
from firstword.agent.call.role import SIP_CALL_STATUS, is_known
from firstword.agent.process.log_redaction import REDACTION
from firstword.telemetry.vocabulary import ACCOUNT_HASH, EDGE_CALLER, PARTICIPANT_KIND

logger = logging.getLogger("firstword")

_LIVEKITS_OWN: Final = frozenset({SIP_CALL_STATUS, "sip.callID", "sip.trunkID", "sip.ruleID"})
"""Attributes whose values say nothing of anybody."""


async def arrival(call: Call) -> int:
    """Wait for the call's caller. Returns when they joined, ns on the run's clock."""
    return _arrived(call, await call.callers.first())


def _arrived(call: Call, caller: Caller) -> int:
    call.limits.caller_arrived(caller)
    _hide_in_the_log(caller.participant)
    kind = caller.participant.kind
    if not is_known(kind):
        logger.warning("the caller is of a kind that LiveKit's agents do not expect: %d", kind)
    call.run.attributes[PARTICIPANT_KIND] = (
        rtc.ParticipantKind.Name(kind) if kind in rtc.ParticipantKind.values() else str(kind)
    )
    said = call.caller_said = _identity_in(call, caller)
    link_sender(call, said)
    if differ(call.identity, said):
        _open_nothing(call)
    if call.ear is not None:
        call.ear.listen_to(caller.identity)
    call.caller.set_result(caller)
    return call.run.caller_joined(caller.joined or call.run.clock())


def identity_of(call: Call, caller: Caller) -> Identity:
    """What the caller's attributes said of the account when they were first seen."""
    identity = call.caller_said or _identity_in(call, caller)
    note_account(call, identity)
    return identity


def note_account(call: Call, identity: Identity) -> None:
    """Tell the trace whose account is named, as a hash, and what was wrong with how it is named."""
    for problem in identity.problems:
        _reject(call, problem)
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


def _identity_in(call: Call, caller: Caller) -> Identity:
    one = caller.participant
    trust = replace(call.trust, now=call.now())
    return caller_identity(one.kind, one.attributes, may_write(one), one.metadata, trust)


def _open_nothing(call: Call) -> None:
    """Two claims name two accounts: none counts, and what was prepared for the one is not used."""
    call.access = Access.NONE
    call.run.attributes.pop(ACCOUNT_HASH, None)
    _reject(call, "claims_differ")


def _reject(call: Call, problem: str) -> None:
    call.run.event("account.rejected", {"reason": problem})
    logger.warning("what names the account is not taken: %s; %s", problem, _what_to_write(problem))


def _what_to_write(problem: str) -> str:
    source = problem.partition("_")[0]
    if problem.endswith("_not_trusted"):
        return "FIRSTWORD_ACCOUNT_SOURCES does not name this source"
    if source == "claim":
        return (
            'expected {"claim": TOKEN} as the job\'s metadata, or TOKEN as attribute firstword.claim: docs/accounts.md'
        )
    if source == "metadata":
        return 'expected {"account": "1001"} as the job\'s metadata'
    return "expected the account in the job's metadata, or as attribute firstword.account of a token without canUpdateOwnMetadata"


def _hide_in_the_log(participant: rtc.RemoteParticipant) -> None:
    theirs = (value for key, value in participant.attributes.items() if key not in _LIVEKITS_OWN)
    REDACTION.hide(participant.identity, participant.name, participant.metadata, *theirs)
