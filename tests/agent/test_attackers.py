"""Attackers are participants of a call, on virtual time: they are greeted as nobody, and answered to nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from firstword.agent.accounts.claim import signed_claim
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.telemetry.testing import EPOCH
from tests.agent.virtual_calls import ADA, BASELINE, TUNED, Ended, Shape, VirtualCall, VirtualCalls

KEY = "thirty-two characters of a secret"
OTHER = ACCOUNTS[1]
SHAPES = [BASELINE, TUNED]


def claim(account: str, room: str = "call") -> str:
    return signed_claim(account, room, KEY, now=EPOCH / 1e9, lasts=500.0)


def called(
    calls: VirtualCalls, shape: Shape, metadata: dict[str, str], attributes: dict[str, str], **token: Any
) -> Ended:
    """A call whose worker takes claims and a telephone's number."""

    async def scenario(call: VirtualCall) -> None:
        await call.heard()
        await call.at(10)
        await call.caller.leave()

    async def joined(call: VirtualCall) -> None:
        await call.caller.join()

    return calls.run(
        scenario,
        shape,
        prepare=joined,
        token={"attributes": attributes, **token},
        metadata=json.dumps(metadata) if metadata else "",
        account_sources="claim,caller-id",
        claim_key=SecretStr(KEY),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("carrier", ["job", "caller"])
def test_a_claim_names_the_account(virtual_calls: VirtualCalls, shape: Shape, carrier: str) -> None:
    """Carried by the job or by a caller who may write anything."""
    carried = claim(ADA.id)
    metadata, attributes = ({"claim": carried}, {}) if carrier == "job" else ({}, {"firstword.claim": carried})
    ended = called(virtual_calls, shape, metadata, attributes, can_update_own_metadata=True)
    assert ended.attributes["startup.account.result"] in ("hit", "miss")
    assert "account.rejected" not in ended.events
    assert ended.rows[-1].account == ADA.id


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("metadata", "attributes"),
    [
        ({"account": ADA.id}, {}),
        ({}, {"firstword.account": ADA.id}),
        ({"claim": claim(ADA.id, "another room")}, {}),
        ({}, {"firstword.claim": claim(ADA.id, "another room")}),
        ({"claim": claim(ADA.id)}, {"firstword.claim": claim(OTHER.id)}),
    ],
    ids=["metadata", "attribute", "another room's, job", "another room's, caller", "two that differ"],
)
def test_nobody_is_somebody_else(
    virtual_calls: VirtualCalls, shape: Shape, metadata: dict[str, str], attributes: dict[str, str]
) -> None:
    """The call goes on as a stranger's, with an event that says why; the session is nobody's."""
    ended = called(virtual_calls, shape, metadata, attributes)
    assert ended.outcome == "first_word"
    assert "account.rejected" in ended.events
    assert ended.rows[-1].account is None
    assert "startup.account.hash" not in ended.attributes
