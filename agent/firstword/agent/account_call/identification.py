"""Finds whose account a call is: what the job's metadata and the caller's attributes say, and which of that counts.

`firstword.agent.call.arrival` tells it who the caller is, before the account is read.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from livekit import rtc
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from firstword.agent.account_call.account_call import AccountCall
from firstword.agent.accounts.identity import (
    Access,
    Identity,
    account_hash,
    caller_identity,
    differ,
    may_write,
)
from firstword.agent.call.caller import Caller
from firstword.agent.call.role import SIP_CALL_STATUS
from firstword.agent.process.log_redaction import REDACTION
from firstword.telemetry.vocabulary import ACCOUNT_HASH, EDGE_CALLER

logger = logging.getLogger("firstword")

_LIVEKITS_OWN: Final = frozenset({SIP_CALL_STATUS, "sip.callID", "sip.trunkID", "sip.ruleID"})
"""Attributes whose values say nothing of anybody."""


def identify(call: AccountCall, caller: Caller) -> None:
    """Reads which account the caller's attributes name, and hides the caller's name and attributes from the log.

    If the caller's claim names another account than the job does, the call may use neither. Called when the caller
    arrives.
    """
    _hide_in_the_log(caller.participant)
    said = call.caller_said = _identity_in(call, caller)
    link_sender(call, said)
    if differ(call.identity, said):
        _open_nothing(call)


def identity_of(call: AccountCall, caller: Caller) -> Identity:
    """Returns what the caller's attributes said of the account when they were first seen, and records it on the trace."""
    identity = call.caller_said or _identity_in(call, caller)
    note_account(call, identity)
    return identity


def note_account(call: AccountCall, identity: Identity) -> None:
    """Records on the trace a hash of the account that is named, and an event for each fault in how it was named."""
    for problem in identity.problems:
        _reject(call, problem)
    if identity.account is not None:
        hashed = account_hash(identity.account, call.process.settings.account_key)
        if hashed is not None:
            call.run.attributes[ACCOUNT_HASH] = hashed


def link_sender(call: AccountCall, identity: Identity) -> None:
    """Links the call's trace to the trace of whoever sent this identity, if it has a `traceparent`."""
    if identity.traceparent is not None:
        sender = TraceContextTextMapPropagator().extract({"traceparent": identity.traceparent}, Context())
        call.trace.link(otel.get_current_span(sender).get_span_context(), EDGE_CALLER)


def _identity_in(call: AccountCall, caller: Caller) -> Identity:
    one = caller.participant
    trust = replace(call.trust, now=call.now())
    return caller_identity(one.kind, one.attributes, may_write(one), one.metadata, trust)


def _open_nothing(call: AccountCall) -> None:
    """Two claims name two accounts: none counts, and what was prepared for the one is not used."""
    call.access, call.withdrawn = Access.NONE, True
    call.run.attributes.pop(ACCOUNT_HASH, None)
    _reject(call, "claims_differ")


def _reject(call: AccountCall, problem: str) -> None:
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
