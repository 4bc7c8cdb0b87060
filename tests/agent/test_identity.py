"""agent/identity.py: whose account a call is about, and who may say so."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import api, rtc
from pydantic import SecretStr

from firstword.agent.accounts.identity import (
    MAX_ACCOUNT,
    MAX_METADATA,
    Identity,
    account_hash,
    caller_identity,
    job_identity,
    may_write,
    whose,
)
from firstword.rehearsal.stack import LocalStack, Stack

STANDARD = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
SIP = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_metadata_names_account_and_trace() -> None:
    """Both are optional, and what else is in it is nobody's business."""
    both = json.dumps({"account": "1001", "traceparent": TRACEPARENT, "more": [1]})
    assert job_identity(both) == Identity("1001", TRACEPARENT)
    assert job_identity('{"account": null}') == Identity()
    assert job_identity("{}") == Identity()
    assert job_identity("") == Identity()


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ("1001", "metadata_not_object"),
        ('"1001"', "metadata_not_object"),
        ('[{"account": "1001"}]', "metadata_not_object"),
        ("null", "metadata_not_object"),
        ("account=1001", "metadata_not_json"),
        ('{"account": "1001"', "metadata_not_json"),
        ("\0", "metadata_not_json"),
        ("[" * MAX_METADATA, "metadata_not_json"),
        ('{"account": ' + "9" * 5000 + "}", "metadata_not_json"),
        ('{"account": "' + "x" * MAX_METADATA + '"}', "metadata_too_long"),
        ('{"account": 1001}', "metadata_account_not_string"),
        ('{"account": true}', "metadata_account_not_string"),
        ('{"account": {"id": "1001"}}', "metadata_account_not_string"),
        ('{"account": ""}', "metadata_account_empty"),
        ('{"account": "  "}', "metadata_account_empty"),
        ('{"account": "' + "x" * (MAX_ACCOUNT + 1) + '"}', "metadata_account_too_long"),
        (r'{"account": "10\u00001"}', "metadata_account_not_printable"),
        (r'{"account": "10\n01"}', "metadata_account_not_printable"),
        (r'{"account": "\ud800"}', "metadata_account_not_printable"),
        (r'{"account": "10\u202e01"}', "metadata_account_not_printable"),
        ('{"traceparent": 7}', "metadata_traceparent_not_string"),
    ],
)
def test_bad_metadata_names_nobody_and_says_why(metadata: str, problem: str) -> None:
    """A word for an event; the word never holds what was sent."""
    assert job_identity(metadata) == Identity(problems=(problem,))


def test_a_bad_account_does_not_cost_the_trace() -> None:
    """Each of the two stands for itself."""
    sent = json.dumps({"account": 5, "traceparent": TRACEPARENT})
    assert job_identity(sent) == Identity(None, TRACEPARENT, ("metadata_account_not_string",))


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_metadata_raises(metadata: str) -> None:
    """Whatever was sent, an account is a short printable text or None."""
    account = job_identity(metadata).account
    assert account is None or (account.isprintable() and 0 < len(account) <= MAX_ACCOUNT)


@pytest.mark.parametrize(
    ("kind", "can_update", "account", "problems"),
    [
        (STANDARD, False, "1001", ()),
        (STANDARD, True, None, ("attributes_writable",)),
        (STANDARD, None, None, ("attributes_permission_unknown",)),
        (SIP, True, "1001", ()),  # the SIP service holds the grant for itself
        (SIP, None, "1001", ()),
    ],
)
@pytest.mark.parametrize("attribute", ["firstword.account", "sip.phoneNumber"])
def test_attributes_count_only_where_the_caller_cannot_have_written_them(
    kind: int, can_update: bool | None, account: str | None, problems: tuple[str, ...], attribute: str
) -> None:
    """Else anybody could be greeted with another's name; the trace is only a link and counts anyway."""
    attributes = {attribute: "1001", "traceparent": TRACEPARENT}
    assert caller_identity(kind, attributes, can_update) == Identity(account, TRACEPARENT, problems)


def test_our_attribute_goes_before_the_phone_number() -> None:
    """An empty one is none; and without any there is nothing to complain of."""
    both = {"firstword.account": "1001", "sip.phoneNumber": "+15550100"}
    assert caller_identity(SIP, both, None).account == "1001"
    assert caller_identity(SIP, both | {"firstword.account": ""}, None).account == "+15550100"
    assert caller_identity(STANDARD, {"sip.phoneNumber": ""}, True) == Identity()
    assert caller_identity(STANDARD, {}, True) == Identity()
    assert caller_identity(STANDARD, {"firstword.account": "a\0"}, False).problems == (
        "attributes_account_not_printable",
    )


def test_the_jobs_word_goes_first() -> None:
    """The caller's counts where the job names nobody."""
    assert whose(Identity("1001"), Identity("1002")) == "1001"
    assert whose(Identity(problems=("metadata_not_json",)), Identity("1002")) == "1002"
    assert whose(Identity("1001"), None) == "1001"
    assert whose(Identity(), None) is None


def test_the_hash_of_an_account_needs_the_key() -> None:
    """The same account and key give the same 16 digits, as RFC 2104 has it; without a key there is none."""
    key = SecretStr("sixteen letters!")
    # printf 1001 | openssl dgst -sha256 -hmac 'sixteen letters!'
    assert account_hash("1001", key) == "47a0489cdf4eaa2a"
    assert account_hash("1001", SecretStr("another secret 16")) != account_hash("1001", key)
    assert account_hash("1001", None) is None


def test_no_repr_shows_whose() -> None:
    """An id may be a phone number."""
    assert "15550100" not in repr(Identity("+15550100"))


@pytest.mark.real
async def test_a_real_server_tells_who_may_write(tmp_path: Path) -> None:
    """From its first sight each participant shows its grant, and one without it can't change what its token said."""
    async with LocalStack(tmp_path) as stack:
        without = await join(stack, "without", grant=None)
        granted = await join(stack, "with", grant=True)
        phone = await join(stack, "phone", grant=True, kind="sip")
        agent = await join(stack, "agent", grant=None)
        seen = agent.remote_participants
        assert {name: may_write(one) for name, one in seen.items()} == {"without": False, "with": True, "phone": True}

        changed = asyncio.Event()

        def on_change(attributes: dict[str, str], participant: rtc.Participant) -> None:
            changed.set()

        agent.on("participant_attributes_changed", on_change)
        await without.local_participant.set_attributes({"firstword.account": "another's"})
        await granted.local_participant.set_attributes({"firstword.account": "another's"})
        await asyncio.wait_for(changed.wait(), 20)  # the allowed change came through, and so the refused one won't
        assert {
            name: caller_identity(one.kind, one.attributes, may_write(one)).account for name, one in seen.items()
        } == {"without": "1001", "with": None, "phone": "1001"}
        for room in (agent, without, granted, phone):
            await room.disconnect()


def token(stack: Stack, name: str, **options: Any) -> str:
    """A token of the stack with the account in its attributes."""
    grants = api.VideoGrants(room_join=True, room="room", can_update_own_metadata=options["grant"])
    signed = api.AccessToken(stack.api_key, stack.api_secret).with_identity(name).with_grants(grants)
    signed = signed.with_attributes({"firstword.account": "1001"})
    return signed.with_kind(options.get("kind", "standard")).to_jwt()


async def join(stack: Stack, name: str, **options: Any) -> rtc.Room:
    """A participant of the room."""
    room = rtc.Room()
    await room.connect(stack.livekit_url, token(stack, name, **options))
    return room
