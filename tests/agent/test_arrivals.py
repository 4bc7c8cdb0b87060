"""Who comes, when, and whose account they name: the shipped plan on virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from firstword.agent.accounts.model import GENERIC
from firstword.agent.greeting.text import greeting_text
from firstword.agent.testing import FakeCaller
from tests.agent.virtual_calls import ADA, BASELINE, TUNED, Shape, VirtualCall, VirtualCalls

MS = 0.001
BOTH = pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["baseline", "tuned"])


async def _joined(call: VirtualCall) -> None:
    await call.caller.join()


async def _listens(call: VirtualCall) -> None:
    await call.hang_up()


@BOTH
@pytest.mark.parametrize(
    ("before", "dispatch"),
    [pytest.param(1.0, "join", id="shortly before"), pytest.param(20.0, "late", id="in a running conversation")],
)
def test_a_caller_who_was_there(virtual_calls: VirtualCalls, shape: Shape, before: float, dispatch: str) -> None:
    """One whose coming called the agent has waited since they joined; an agent called late counts from its own call."""

    async def wait(call: VirtualCall) -> None:
        await _joined(call)
        await asyncio.sleep(before)

    ended = virtual_calls.run(_listens, shape, prepare=wait, join_window=5.0)
    assert ended.attributes["startup.dispatch"] == dispatch
    waited = before + 0.025 + 0.010 if dispatch == "join" else 0.0  # half of their connect, and their microphone
    assert ended.ttfw == pytest.approx(waited + ended.seconds, abs=MS)


@BOTH
def test_a_caller_who_comes_later(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """Waiting for them is no part of the time to first word."""

    async def come(call: VirtualCall) -> None:
        await call.at(10.0)
        await call.caller.join()
        await call.hang_up()

    ended = virtual_calls.run(come, shape)
    assert ended.attributes["startup.dispatch"] == "ahead"
    assert ended.seconds > 10
    assert ended.ttfw < 1
    assert "critical absent caller" in [span.name for span in ended.spans]


@BOTH
def test_two_callers(virtual_calls: VirtualCalls, shape: Shape) -> None:
    """A second caller hears the greeting too; the start is the first one's."""
    heard: list[float] = []

    async def both(call: VirtualCall) -> None:
        second = FakeCaller(call.livekit, identity="second")
        await second.join()
        await call.hang_up(1.0)
        heard.extend(each.at for each in second.heard)
        await second.leave()

    ended = virtual_calls.run(both, shape, prepare=_joined)
    assert ended.outcome == "first_word"
    assert heard[0] == pytest.approx(ended.heard[0].at, abs=0.050)


@BOTH
@pytest.mark.parametrize(
    ("metadata", "token", "greeted", "result", "events"),
    [
        pytest.param("{not json", {}, GENERIC, "unknown", ["account.rejected"], id="not JSON"),
        pytest.param('{"account": "nobody"}', {}, GENERIC, "unknown", [], id="an account nobody knows"),
        pytest.param(
            "",
            {"attributes": {"firstword.account": ADA.id}, "can_update_own_metadata": True},
            GENERIC,
            "unknown",
            ["account.rejected"],
            id="an account that the caller may have written",
        ),
        pytest.param(
            "",
            {"attributes": {"firstword.account": ADA.id}, "can_update_own_metadata": False},
            ADA,
            "miss",
            [],
            id="an account by the token's attributes",
        ),
    ],
)
def test_whose_account(
    virtual_calls: VirtualCalls,
    shape: Shape,
    metadata: str,
    token: dict[str, Any],
    greeted: Any,
    result: str,
    events: list[str],
) -> None:
    """Only an account that the caller can't have chosen is greeted by name; the call goes on in any case."""
    said: list[str] = []

    async def listen(call: VirtualCall) -> None:
        await call.hang_up(6.0)
        said.extend(call.tts.speaking.requests)

    ended = virtual_calls.run(listen, shape, prepare=_joined, metadata=metadata, token=token)
    assert ended.outcome == "first_word"
    assert ended.attributes["startup.account.result"] == result
    assert ended.events == events
    assert greeting_text(greeted, ended.began).text in (said[0], " ".join(said))
