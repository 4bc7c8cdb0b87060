"""Finds which account a call is about, by those sources that may say so: `FIRSTWORD_ACCOUNT_SOURCES`.

It reads what others sent, is pure, and never raises for it. Its findings are data: an account id or None, how far that
opens the account, and a word for each thing that was wrong.

    claim       signed (`firstword.agent.accounts.claim`), in the job's metadata or the caller's attributes
    metadata    the job's, as it is: true where only a server of the operator's asks for the agent
    attribute   of the caller's token, where the caller can't have written it
    caller-id   the telephone's: whoever calls may fake it, so it opens the greeting and nothing else

LiveKit's token endpoint for front ends copies `room_config` and attributes from the browser's request: behind it
`metadata` and `attribute` are whatever the page's visitor wants.

What LiveKit shows of the attributes (livekit-server 1.11, rtc 1.1.21; read, and tried with a real server in the tests):

- Each participant is announced with its permission, `can_update_metadata` in it, from the first sight of it on.
- The server takes attributes from a client, when it joins and later, only with the grant `canUpdateOwnMetadata`. Without it they come from the
  token or from whoever holds the API secret. So the grant decides; unknown is not trusted.
- A SIP participant has that grant, because LiveKit's SIP service keeps `sip.callStatus` current with it. There the kind says who wrote; only a
  signed token gives a kind.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final, cast

from firstword.agent.accounts.claim import checked_claim
from firstword.agent.interruption import RESCUE
from firstword.agent.job_metadata import MAX_METADATA, parsed

if TYPE_CHECKING:
    from livekit.rtc import Participant
    from pydantic import SecretStr

    from firstword.agent.setting_values import AccountSource

CLAIM_ATTRIBUTE: Final = "firstword.claim"
ACCOUNT_ATTRIBUTE: Final = "firstword.account"
PHONE_ATTRIBUTE: Final = "sip.phoneNumber"
MAX_ACCOUNT: Final = 256
"""Characters of an account id."""
MAX_TRACEPARENT: Final = 256
"""Most characters of a traceparent. W3C's has 55; later versions may append."""

_SIP: Final = 3  # ParticipantKind.PARTICIPANT_KIND_SIP; a test holds it to LiveKit's
_OURS: Final = frozenset({"account", "claim", "traceparent", RESCUE})


class Access(IntEnum):
    """How much of an account a call may use."""

    NONE = 0
    """Nothing of it: the call is a stranger's."""
    GREETING = 1
    """Only what the greeting says; neither knowledge, tools nor the last session."""
    ALL = 2


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """What one source says of the account: its id, how far it may be used, and what was wrong. Has no repr: an id may
    be a phone number.
    """

    account: str | None = None
    traceparent: str | None = None
    """The sender's trace as sent, for a link of the trace. It never becomes its parent."""
    problems: tuple[str, ...] = ()
    """A word for each thing that was wrong, such as `metadata_not_json`; never a value."""
    access: Access = Access.ALL
    claimed: bool = False
    """Whether the account is named by a claim."""


@dataclass(frozen=True, slots=True, repr=False)
class Trust:
    """Which sources may name an account in one call, and what a claim is checked against."""

    sources: frozenset[AccountSource]
    claim_key: SecretStr | None
    room: str
    """The room's name."""
    now: float
    """Unix time, seconds."""


def job_identity(metadata: str, trust: Trust) -> Identity:
    """Returns which account the job's metadata names: JSON with `"claim"` or `"account"`, and optionally
    `"traceparent"`. Never raises.

    Empty metadata names none.
    """
    if not metadata:
        return Identity()
    if len(metadata) > MAX_METADATA:
        return Identity(problems=("metadata_too_long",))
    try:
        said = parsed(metadata)
    except ValueError:
        return Identity(problems=("metadata_not_json",))
    if not isinstance(said, dict):
        return Identity(problems=("metadata_not_object",))
    # `{"Account": ...}` can mean nothing else
    fields = {key.lower().strip(): value for key, value in cast("dict[str, object]", said).items()}
    named = fields.get("claim"), fields.get("account"), fields.get("traceparent")
    identity = _identity("metadata", *named, trust, account_counts="metadata" in trust.sources)
    if fields.keys() - _OURS and named[0] is None and named[1] is None:
        return replace(identity, problems=(*identity.problems, "metadata_names_no_account"))
    return identity


def caller_identity(
    kind: int, attributes: Mapping[str, str], can_update_metadata: bool | None, metadata: str, trust: Trust
) -> Identity:
    """Returns which account the caller's attributes name. An account counts only if the caller can't have written it; a
    claim always counts.

    `kind` is LiveKit's ParticipantKind; `can_update_metadata` is None when it isn't known (see `may_write`). metadata:
    the participant's own. It names no account: one in it is reported as a problem.
    """
    named = attributes.get(CLAIM_ATTRIBUTE) or None, attributes.get(ACCOUNT_ATTRIBUTE) or None
    problems: list[str] = []
    account_counts = "attribute" in trust.sources
    if account_counts and named[1] is not None and kind != _SIP and can_update_metadata is not False:
        account_counts = False
        named = named[0], None
        problems.append("attributes_permission_unknown" if can_update_metadata is None else "attributes_writable")
    if '"account"' in metadata or '"claim"' in metadata:
        problems.append("participant_metadata_names_nobody")
    identity = _identity("attributes", *named, attributes.get("traceparent"), trust, account_counts=account_counts)
    identity = replace(identity, problems=(*problems, *identity.problems))
    phone = attributes.get(PHONE_ATTRIBUTE)
    if identity.account is None and phone and kind == _SIP and "caller-id" in trust.sources:
        by_phone = _identity("caller_id", None, phone, None, trust, account_counts=True)
        return replace(
            identity,
            account=by_phone.account,
            access=Access.GREETING,
            problems=(*identity.problems, *by_phone.problems),
        )
    return identity


def may_write(participant: Participant) -> bool | None:
    """Returns whether the participant may write its own attributes; None if LiveKit has not said so."""
    permission = participant.permissions
    return permission.can_update_metadata if permission.HasField("can_update_metadata") else None


def differ(job: Identity, caller: Identity) -> bool:
    """Returns whether the caller's claim names another account than the job does. Then neither counts."""
    return caller.claimed and job.account is not None and job.account != caller.account


def whose(job: Identity, caller: Identity | None) -> Identity:
    """Returns the identity that names the account: the job's, or the caller's if the job names none.

    If they `differ`, the call is a stranger's, which is decided elsewhere.
    """
    return caller if job.account is None and caller is not None else job


def account_hash(account: str, key: SecretStr | None) -> str | None:
    """Returns the account as a trace may show it: 16 hex digits of its HMAC-SHA256. None without a key (`ACCOUNT_KEY`)."""
    if key is None:
        return None
    return hmac.digest(key.get_secret_value().encode(), account.encode(), "sha256").hex()[:16]


def _identity(
    source: str, claim: object, account: object, traceparent: object, trust: Trust, *, account_counts: bool
) -> Identity:
    problems: list[str] = []
    named, claimed = None, False
    if account is not None and not account_counts:
        problems.append(f"{source}_account_not_trusted")
    elif account is not None:
        named = str(account) if isinstance(account, int) and not isinstance(account, bool) else account
    if claim is not None:
        if "claim" not in trust.sources or trust.claim_key is None:
            problems.append("claim_without_key" if "claim" in trust.sources else "claim_not_trusted")
        else:
            checked = checked_claim(claim, trust.room, trust.claim_key.get_secret_value(), trust.now)
            if checked.problem is not None:
                problems.append(checked.problem)
            else:
                named, claimed = checked.account, True
    if named is not None and (wrong := _wrong(named, MAX_ACCOUNT)):
        problems.append(f"{'claim' if claimed else source}_account_{wrong}")
        named = None
    if traceparent is not None and (wrong := _wrong(traceparent, MAX_TRACEPARENT)):
        problems.append(f"{source}_traceparent_{wrong}")
        traceparent = None
    return Identity(
        named.strip() if isinstance(named, str) else None,
        traceparent if isinstance(traceparent, str) else None,
        tuple(problems),
        claimed=claimed and named is not None,
    )


def _wrong(value: object, longest: int) -> str | None:
    if not isinstance(value, str):
        return "not_string"
    if not value.strip():
        return "empty"
    if len(value) > longest:
        return "too_long"
    # Control characters, line breaks, halves of surrogate pairs (JSON can spell them), invisible ones.
    return None if value.strip().isprintable() else "not_printable"
