"""Who can make a claim that is taken: whoever has the key, for one room, for ten minutes."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstword.agent.accounts.claim import LASTS_S, LONGEST, checked_claim, signed_claim

KEY = "thirty-two characters of a secret"
OTHER = "thirty-two characters of another!"
NOW = 1_800_000_000.0
ROOM = "call-7f3a"


def made(key: str = KEY, algorithm: str = "HS256", **changed: Any) -> str:
    """A claim with these fields changed; None takes one out."""
    said = {"sub": "1001", "room": ROOM, "exp": NOW + 300, **changed}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, key, algorithm=algorithm)


def test_a_claim_names_its_account_in_its_room() -> None:
    """As it is signed here, and with whatever else another's library puts in."""
    assert checked_claim(signed_claim("1001", ROOM, KEY, now=NOW), ROOM, KEY, NOW).account == "1001"
    assert checked_claim(made(iat=NOW, aud="x", iss="y", nbf=NOW), ROOM, KEY, NOW).account == "1001"
    assert checked_claim(f" {made()}\n", ROOM, KEY, NOW).account == "1001"


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        (made(OTHER), "claim_signature_wrong"),
        (made(KEY * 2, algorithm="HS512"), "claim_not_hs256"),
        (jwt.encode({"sub": "1001", "room": ROOM, "exp": NOW + 300}, None, algorithm="none"), "claim_not_hs256"),
        (made(room="call-other"), "claim_of_another_room"),
        (made(room=None), "claim_without_room"),
        (made(sub=None), "claim_without_sub"),
        (made(exp=None), "claim_without_exp"),
        (made(exp=NOW - 60), "claim_expired"),
        (made(exp=NOW + 3600), "claim_lasts_too_long"),
        (made(exp=float("inf")), "claim_lasts_too_long"),
        (made(exp=float("nan")), "claim_expired"),
        (made(exp=True), "claim_exp_not_number"),
        (made(exp="soon"), "claim_exp_not_number"),
        (made(sub=["1001"]), "claim_sub_not_string"),
        (made(sub="x" * LONGEST), "claim_too_long"),
        ("1001", "claim_not_a_token"),
        ("", "claim_not_a_token"),
        ("\ud800", "claim_not_a_token"),
        (1001, "claim_not_string"),
        ({"sub": "1001"}, "claim_not_string"),
    ],
)
def test_any_other_is_refused_by_name(claim: object, problem: str) -> None:
    """A word for the log, without any of what was sent."""
    checked = checked_claim(claim, ROOM, KEY, NOW)
    assert (checked.account, checked.problem) == (None, problem)


@pytest.mark.parametrize("seconds", [0.0, 299.0, 304.0])
def test_a_claim_counts_for_as_long_as_it_says(seconds: float) -> None:
    """And a moment longer, as two servers' clocks differ."""
    assert checked_claim(made(), ROOM, KEY, NOW + seconds).account == "1001"


def test_the_longest_claim_is_ten_minutes() -> None:
    """One that lasts for good would be a password in a browser."""
    assert checked_claim(signed_claim("1001", ROOM, KEY, now=NOW, lasts=LASTS_S), ROOM, KEY, NOW).account == "1001"
    assert checked_claim(signed_claim("1001", ROOM, KEY, now=NOW, lasts=LASTS_S + 60), ROOM, KEY, NOW).account is None


@given(st.integers(0, 10_000), st.characters(codec="ascii"))
def test_a_claim_with_one_character_changed_names_nobody(place: int, character: str) -> None:
    """Wherever it is, unless it changes none of the bytes that are signed."""
    claim = made()
    place %= len(claim)
    changed = claim[:place] + character + claim[place + 1 :]
    account = checked_claim(changed, ROOM, KEY, NOW).account
    assert account is None or place == len(claim) - 1 or changed == claim


@given(st.text() | st.binary() | st.none() | st.integers() | st.lists(st.text()))
def test_nothing_that_is_sent_raises(claim: object) -> None:
    """Nor is anything of it an account."""
    assert checked_claim(claim, ROOM, KEY, NOW).account is None


def test_nobody_is_shown() -> None:
    """An account may be a telephone number."""
    assert "15550100" not in repr(checked_claim(signed_claim("+15550100", ROOM, KEY, now=NOW), ROOM, KEY, NOW))
