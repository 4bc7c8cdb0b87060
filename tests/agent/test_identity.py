"""firstword.agent.accounts.identity: whose account a call is about, and who may say so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import api, rtc
from pydantic import SecretStr

from firstword.agent.accounts.claim import signed_claim
from firstword.agent.accounts.identity import (
    MAX_ACCOUNT,
    Access,
    Identity,
    Trust,
    account_hash,
    caller_identity,
    differ,
    job_identity,
    may_write,
    whose,
)
from firstword.agent.job_metadata import MAX_METADATA
from firstword.agent.setting_values import AccountSource
from firstword.rehearsal.stack import LocalStack, Stack

STANDARD = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
SIP = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
KEY = "thirty-two characters of a secret"
ROOM, NOW = "room", 1_800_000_000.0
ALL = Trust(frozenset(get_args(AccountSource)), SecretStr(KEY), ROOM, NOW)
CLAIM = replace(ALL, sources=frozenset({"claim"}))
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def said(metadata: str, trust: Trust = ALL) -> Identity:
    return job_identity(metadata, trust)


def test_metadata_names_account_and_trace() -> None:
    """Both are optional, and what else is in it is nobody's business."""
    both = json.dumps({"account": "1001", "traceparent": TRACEPARENT, "more": [1]})
    assert said(both) == Identity("1001", TRACEPARENT)
    assert said('{"account": null}') == Identity()
    assert said("{}") == Identity()
    assert said("") == Identity()


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
        ('{"account": 10.01}', "metadata_account_not_string"),
        ('{"user": {"account": "1001"}}', "metadata_names_no_account"),
        ('{"account_id": "1001"}', "metadata_names_no_account"),
        (r'"{\"account\": \"1001\"}"', "metadata_not_object"),
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
    assert said(metadata) == Identity(problems=(problem,))


def test_a_bad_account_does_not_cost_the_trace() -> None:
    """Each of the two stands for itself."""
    sent = json.dumps({"account": [5], "traceparent": TRACEPARENT})
    assert said(sent) == Identity(None, TRACEPARENT, ("metadata_account_not_string",))


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_metadata_raises(metadata: str) -> None:
    """Whatever was sent, an account is a short printable text or None."""
    account = said(metadata).account
    assert account is None or (account.isprintable() and 0 < len(account) <= MAX_ACCOUNT)


@pytest.mark.parametrize(
    "near", ['{"account": 1001}', '{"account": " 1001 "}', '{"Account": "1001"}', '\ufeff{"account": "1001"}']
)
def test_what_can_mean_nothing_else_is_taken(near: str) -> None:
    """A number, blanks, another case, a byte order mark."""
    assert said(near) == Identity("1001")


def test_an_account_in_a_carrier_that_does_not_count_is_pointed_out() -> None:
    """With `claim` alone, what a browser could have sent names nobody; nor does a participant's metadata."""
    assert said('{"account": "1001"}', CLAIM).problems == ("metadata_account_not_trusted",)
    assert attributes_say({"firstword.account": "1001"}, trust=CLAIM).problems == ("attributes_account_not_trusted",)
    assert caller_identity(STANDARD, {}, False, '{"account": "1001"}', ALL).problems == (
        "participant_metadata_names_nobody",
    )


def attributes_say(
    attributes: dict[str, str], kind: int = STANDARD, can_update: bool | None = False, trust: Trust = ALL
) -> Identity:
    return caller_identity(kind, attributes, can_update, "", trust)


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
def test_attributes_count_only_where_the_caller_cannot_have_written_them(
    kind: int, can_update: bool | None, account: str | None, problems: tuple[str, ...]
) -> None:
    """Else anybody could be greeted with another's name; the trace is only a link and counts anyway."""
    attributes = {"firstword.account": "1001", "traceparent": TRACEPARENT}
    assert attributes_say(attributes, kind, can_update) == Identity(account, TRACEPARENT, problems)


def test_a_caller_id_opens_the_greeting_alone() -> None:
    """Whoever calls may fake it; a browser has none, and it counts only where it is asked for."""
    attributes = {"sip.phoneNumber": "+15550100"}
    assert attributes_say(attributes, SIP, True) == Identity("+15550100", access=Access.GREETING)
    assert attributes_say(attributes, STANDARD, False) == Identity()
    assert attributes_say(attributes, SIP, True, CLAIM) == Identity()
    both = attributes | {"firstword.account": "1001"}
    assert attributes_say(both, SIP, True) == Identity("1001")
    assert attributes_say({"sip.phoneNumber": ""}, SIP, True) == Identity()


def test_a_claim_counts_whoever_carries_it() -> None:
    """In the job's metadata, and as attribute of a caller who may write their own: they can't sign one."""
    claim = signed_claim("1001", ROOM, KEY, now=NOW)
    assert said(json.dumps({"claim": claim}), CLAIM) == Identity("1001", claimed=True)
    assert attributes_say({"firstword.claim": claim}, STANDARD, True, CLAIM) == Identity("1001", claimed=True)
    named = attributes_say({"firstword.claim": claim, "sip.phoneNumber": "+15550100"}, SIP, True)
    assert (named.account, named.access) == ("1001", Access.ALL)


def test_a_claim_that_is_not_asked_for_or_has_no_key_names_nobody() -> None:
    """And says which of the two."""
    sent = json.dumps({"claim": signed_claim("1001", ROOM, KEY, now=NOW)})
    assert said(sent, replace(CLAIM, claim_key=None)) == Identity(problems=("claim_without_key",))
    assert said(sent, replace(CLAIM, sources=frozenset({"metadata"}))) == Identity(problems=("claim_not_trusted",))


def test_a_claim_goes_before_what_is_only_said() -> None:
    """A visitor who adds an account to a claim stays who they are."""
    sent = {"claim": signed_claim("1001", ROOM, KEY, now=NOW), "account": "1002"}
    assert said(json.dumps(sent), ALL) == Identity("1001", claimed=True)


def test_two_claims_that_differ_count_for_nothing() -> None:
    """Of job and caller; the same twice is one."""
    one, two = Identity("1001", claimed=True), Identity("1002", claimed=True)
    assert differ(one, two)
    assert differ(Identity("1001"), two)
    assert not differ(one, one)
    assert not differ(one, Identity("1002"))
    assert not differ(Identity(), two)


def test_the_jobs_word_goes_first() -> None:
    """The caller's counts where the job names nobody."""
    assert whose(Identity("1001"), Identity("1002")).account == "1001"
    assert whose(Identity(problems=("metadata_not_json",)), Identity("1002")).account == "1002"
    assert whose(Identity("1001"), None).account == "1001"
    assert whose(Identity(), None).account is None


@given(
    st.dictionaries(
        st.sampled_from(["firstword.claim", "firstword.account", "sip.phoneNumber", "traceparent"]), st.text()
    ),
    st.sampled_from([STANDARD, SIP]),
    st.none() | st.booleans(),
    st.text(),
)
def test_no_attribute_raises_or_signs(
    attributes: dict[str, str], kind: int, can_update: bool | None, metadata: str
) -> None:
    """Whatever a stranger writes, it is no claim."""
    identity = caller_identity(kind, attributes, can_update, metadata, ALL)
    assert not identity.claimed
    assert identity.account is None or identity.account.isprintable()
    assert caller_identity(kind, attributes, can_update, metadata, CLAIM).account is None


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


@pytest.mark.livekit
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
        await asyncio.wait_for(changed.wait(), 120)  # the allowed change came through, and so the refused one won't
        assert {
            name: caller_identity(one.kind, one.attributes, may_write(one), one.metadata, ALL).account
            for name, one in seen.items()
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
