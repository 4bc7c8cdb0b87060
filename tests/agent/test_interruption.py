"""firstword.agent.interruption: only who has LiveKit's secret can say that a job takes up a call."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from livekit import api

from firstword.agent.greeting.text import interrupted_greeting
from firstword.agent.interruption import LASTS_S, RESCUE, checked, is_interrupted, sign, signed_metadata
from firstword.agent.testing import FirstWordTest
from firstword.telemetry.testing import EPOCH
from firstword.telemetry.vocabulary import INTERRUPTED
from tests.agent.test_first_word import HELLO, Conversation
from tests.agent.virtual_calls import ADA, BASELINE, TUNED, Shape, VirtualCall, VirtualCalls

pytest_plugins = ["firstword.agent.testing.fixtures"]

ROOM, SECRET, NOW = "call", "s" * 32, 1_795_000_000.0


@pytest.mark.parametrize("metadata", ["", " ", "{}", '{"claim": "x", "firstword.rescue": "old"}'])
def test_a_sign_is_added_to_an_object(metadata: str) -> None:
    signed = signed_metadata(metadata, ROOM, SECRET, now=NOW)
    assert is_interrupted(signed, ROOM, SECRET, now=NOW + LASTS_S)
    kept = {**json.loads(signed)}
    del kept[RESCUE]
    assert kept == {each: value for each, value in json.loads(metadata.strip() or "{}").items() if each != RESCUE}


@pytest.mark.parametrize("metadata", ["north", "[]", '"x"', "1", "{", "[" * 100_000, '{"a": 1}' + " " * 20_000])
def test_other_metadata_stays_as_it_is(metadata: str) -> None:
    assert signed_metadata(metadata, ROOM, SECRET, now=NOW) == metadata


FORGED = {
    "no sign": "{}",
    "a word": json.dumps({RESCUE: "yes"}),
    "no text": json.dumps({RESCUE: True}),
    "another's secret": signed_metadata("", ROOM, "t" * 32, now=NOW),
    "another room's": signed_metadata("", "elsewhere", SECRET, now=NOW),
    "an old one": signed_metadata("", ROOM, SECRET, now=NOW - LASTS_S - 1),
    "one of tomorrow": signed_metadata("", ROOM, SECRET, now=NOW + LASTS_S + 1),
    "a room's": json.dumps({RESCUE: sign("room", ROOM, SECRET, now=NOW)}),
    "without a signature": json.dumps(
        {RESCUE: jwt.encode({"sub": "job", "room": ROOM, "iat": NOW}, "", algorithm="none")}
    ),
    "signed with the secret itself": json.dumps(
        {RESCUE: jwt.encode({"sub": "job", "room": ROOM, "iat": NOW}, SECRET, algorithm="HS256")}
    ),
    "a token to join": json.dumps(
        {RESCUE: api.AccessToken("key", SECRET).with_identity("x").with_grants(api.VideoGrants(room=ROOM)).to_jwt()}
    ),
    "no time": json.dumps({RESCUE: sign("job", ROOM, SECRET, now=float("nan"))}),
    "deep": f'{{"{RESCUE}": ' + "[" * 15_000,
    "long": json.dumps({RESCUE: "x" * 20_000}),
}


@pytest.mark.parametrize("metadata", FORGED.values(), ids=FORGED)
def test_nothing_else_is_one(metadata: str) -> None:
    assert not is_interrupted(metadata, ROOM, SECRET, now=NOW)


def test_a_sign_opens_no_room() -> None:
    """LiveKit's key does not verify it."""
    token = sign("job", ROOM, SECRET, now=NOW)
    assert checked(token, "job", ROOM, SECRET) is not None
    with pytest.raises(jwt.PyJWTError):
        api.TokenVerifier("key", SECRET).verify(token)


@pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["baseline", "tuned"])
def test_the_shipped_worker_says_that_the_call_was_interrupted(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """In the account's language, and without a name."""
    secret = virtual_calls.settings.livekit_api_secret.get_secret_value()
    signed = signed_metadata(json.dumps({"account": ADA.id}), ROOM, secret, now=EPOCH / 1e9)
    spoken: list[str] = []

    async def listen(call: VirtualCall) -> None:
        await call.caller.join()
        await call.hang_up(after=8.0)
        spoken.extend(call.tts.speaking.requests)

    call = virtual_calls.run(listen, shape, metadata=signed)
    assert (call.outcome, call.attributes[INTERRUPTED]) == ("first_word", True)
    assert "".join(spoken).replace(" ", "") == interrupted_greeting(ADA.language).replace(" ", "")
    assert virtual_calls.run(listen, shape).attributes.get(INTERRUPTED) is None


@pytest.mark.parametrize(
    ("options", "says"),
    [({}, interrupted_greeting("en")), ({"interrupted": "Da bin ich wieder."}, "Da bin ich wieder.")],
    ids=["by default", "its own words"],
)
def test_any_agent_that_speaks_first_says_so(
    first_word_test: FirstWordTest, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    """And greets as usual whoever forges the sign, or where no secret is known."""
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
    conversation = Conversation(**options)
    call = first_word_test.run(conversation, metadata=signed_metadata("", ROOM, SECRET, now=EPOCH / 1e9))
    assert conversation.said == [says]
    assert (call.root.attributes or {})[INTERRUPTED] is True
    forged = Conversation(**options)
    first_word_test.run(forged, metadata=signed_metadata("", ROOM, "t" * 32, now=EPOCH / 1e9))
    monkeypatch.delenv("LIVEKIT_API_SECRET")
    unknown = Conversation(**options)
    first_word_test.run(unknown, metadata=signed_metadata("", ROOM, SECRET, now=EPOCH / 1e9))
    assert forged.said == unknown.said == [HELLO]
