"""Whose account a call is about: said by the job's metadata, else by attributes that the caller can't have written.

First task of the data path that reads what others sent; pure, never raises for it, and its findings are data: an
account id or None, and a word for each thing that was wrong, for an event on the span.

What LiveKit shows of it (livekit-server 1.11, rtc 1.1.21; read, and tried with a real server in the tests):

- Each participant is announced with its permission, `can_update_metadata` in it, from the first sight of it on.
- The server takes attributes from a client, when it joins and later, only with the grant `canUpdateOwnMetadata`.
  Without it they come from the token or from who holds the API secret. So the grant decides; unknown is not trusted.
- A SIP participant has that grant, because LiveKit's SIP service keeps `sip.callStatus` current with it: there it is
  the kind, which only a signed token gives, that says who wrote. `sip.phoneNumber` is as true as the trunk's caller id.

Left to the front end: a token endpoint must not copy attributes or metadata from the browser's request.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from livekit.rtc import Participant
    from pydantic import SecretStr

ACCOUNT_ATTRIBUTE: Final = "firstword.account"
PHONE_ATTRIBUTE: Final = "sip.phoneNumber"
MAX_METADATA: Final = 16_384
"""Characters of job metadata that are parsed; more is no account's doing."""
MAX_ACCOUNT: Final = 256
"""Characters of an account id."""
MAX_TRACEPARENT: Final = 256
"""Characters; W3C's is 55, later versions may append."""

_SIP: Final = 3  # ParticipantKind.PARTICIPANT_KIND_SIP; a test holds it to LiveKit's


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """What one source says of the account. Has no repr of its own: an id may be a phone number."""

    account: str | None = None
    traceparent: str | None = None
    """The sender's trace, unparsed: for a link, never for a parent."""
    problems: tuple[str, ...] = ()
    """Words such as `metadata_not_json`; never a value."""


def job_identity(metadata: str) -> Identity:
    """What the job's metadata says: JSON, `{"account": ID, "traceparent": ...}`, both optional; empty says nothing."""
    if not metadata:
        return Identity()
    if len(metadata) > MAX_METADATA:
        return Identity(problems=("metadata_too_long",))
    try:
        said: Any = json.loads(metadata)
    except (ValueError, RecursionError):  # RecursionError: thousands of nested brackets
        return Identity(problems=("metadata_not_json",))
    if not isinstance(said, dict):
        return Identity(problems=("metadata_not_object",))
    fields = cast("dict[str, object]", said)
    return _identity("metadata", fields.get("account"), fields.get("traceparent"))


def caller_identity(kind: int, attributes: Mapping[str, str], can_update_metadata: bool | None) -> Identity:
    """What the caller's attributes say; an account only where the caller can't have written it.

    `kind` is LiveKit's ParticipantKind; `can_update_metadata` is None when it isn't known (see `may_write`).
    """
    traceparent = attributes.get("traceparent")
    account = attributes.get(ACCOUNT_ATTRIBUTE) or attributes.get(PHONE_ATTRIBUTE) or None
    if account is not None and kind != _SIP and can_update_metadata is not False:
        why = "attributes_permission_unknown" if can_update_metadata is None else "attributes_writable"
        untrusted = _identity("attributes", None, traceparent)
        return Identity(None, untrusted.traceparent, (why, *untrusted.problems))
    return _identity("attributes", account, traceparent)


def may_write(participant: Participant) -> bool | None:
    """Whether the participant may write its own attributes; None when LiveKit has not said so."""
    permission = participant.permissions
    return permission.can_update_metadata if permission.HasField("can_update_metadata") else None


def whose(job: Identity, caller: Identity | None) -> str | None:
    """The account's id: the job's word first, then the caller's; None when neither names one."""
    return job.account or (caller.account if caller else None)


def account_hash(account: str, key: SecretStr | None) -> str | None:
    """The account as a trace may show it: 16 hex digits of its HMAC-SHA256; None without a key (`ACCOUNT_KEY`)."""
    if key is None:
        return None
    return hmac.digest(key.get_secret_value().encode(), account.encode(), "sha256").hex()[:16]


def _identity(source: str, account: object, traceparent: object) -> Identity:
    problems: list[str] = []
    if account is not None and (wrong := _wrong(account, MAX_ACCOUNT)):
        problems.append(f"{source}_account_{wrong}")
        account = None
    if traceparent is not None and (wrong := _wrong(traceparent, MAX_TRACEPARENT)):
        problems.append(f"{source}_traceparent_{wrong}")
        traceparent = None
    return Identity(
        account if isinstance(account, str) else None,
        traceparent if isinstance(traceparent, str) else None,
        tuple(problems),
    )


def _wrong(value: object, longest: int) -> str | None:
    if not isinstance(value, str):
        return "not_string"
    if not value.strip():
        return "empty"
    if len(value) > longest:
        return "too_long"
    # Control characters, line breaks, halves of surrogate pairs (JSON can spell them), invisible ones.
    return None if value.isprintable() else "not_printable"
