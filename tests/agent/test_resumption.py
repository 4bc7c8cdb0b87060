"""What an account's caller said last is told in the next call, for so many days and where it is wanted: on virtual time."""

from __future__ import annotations

import pytest

from firstword.agent.accounts.model import LastSession
from firstword.agent.conversation.assistant import Assistant
from tests.agent.virtual_calls import BASELINE, TUNED, Shape, VirtualCall, VirtualCalls

DAY = 86_400.0
LAST = LastSession(ended=0.0, summary="Asked about the bill.", left_open="")
NOW = 1_700_000_000.0
"""When a virtual call begins."""


@pytest.mark.parametrize("shape", [BASELINE, TUNED], ids=["baseline", "tuned"])
@pytest.mark.parametrize(
    ("days", "resumption", "told"),
    [(29.0, "on", [True]), (31.0, "on", [False]), (29.0, "off", [])],
    ids=["young", "old", "not wanted"],
)
def test_the_last_words_are_told_while_they_are_young_and_wanted(
    virtual_calls: VirtualCalls,
    monkeypatch: pytest.MonkeyPatch,
    shape: Shape,
    days: float,
    resumption: str,
    told: list[bool],
) -> None:
    """Where they are not wanted, they are neither read nor kept."""
    seen: list[bool] = []
    kept: list[str] = []

    async def resume(_: Assistant, last: LastSession | None) -> None:
        seen.append(last is not None)

    monkeypatch.setattr(Assistant, "resume", resume)

    async def prepare(call: VirtualCall) -> None:
        call.store.last = LastSession(NOW - days * DAY, LAST.summary, LAST.left_open)
        await call.caller.join()

    async def scenario(call: VirtualCall) -> None:
        await call.heard()
        await call.at(5.0)
        call.vad.begin()
        call.stt.say("Move my cleaning.")
        call.vad.end()
        await call.at(10.0)
        await call.caller.leave()
        await call.at(30.0)
        kept.extend(call.store.kept)

    virtual_calls.run(scenario, shape, prepare=prepare, resumption=resumption)
    assert seen == told
    assert bool(kept) is (resumption == "on")
