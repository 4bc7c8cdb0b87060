"""firstword.tuning.testing: what a test asserts on traces that somebody left, and what it says where that does not hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from firstword.telemetry.export import Exporting, FileExporter
from firstword.telemetry.plan import Plan
from firstword.telemetry.record import Outcome
from firstword.telemetry.run import Run
from firstword.telemetry.spans import StartTrace
from firstword.telemetry.testing import StartupTest
from firstword.telemetry.vocabulary import GREET
from firstword.tuning.testing import assert_start


@pytest.fixture
def traces(tmp_path: Path, startup_test: StartupTest) -> Path:
    """A start of 0.3 s, of `account` and `playout`, with `analytics` after the first word."""
    plan = Plan("session.startup", phases=(GREET,))

    @plan.task()
    async def account() -> None:
        await asyncio.sleep(0.2)

    @plan.first_word
    async def playout(account: None) -> None:
        await asyncio.sleep(0.1)

    @plan.task(deferred=True)
    async def analytics() -> None:
        await asyncio.sleep(0.1)

    plan.check()
    exporting = Exporting([FileExporter(tmp_path)])
    run = Run(plan.shape({}), given={}, trace=StartTrace(exporting), clock=startup_test.loop.clock)
    startup_test.loop.call_soon(lambda: run.caller_joined(startup_test.loop.clock()))
    startup_test.loop.run_until_complete(run.perform())
    exporting.shutdown()
    return tmp_path


def test_what_holds_is_returned(traces: Path) -> None:
    (file,) = traces.iterdir()
    for where in (traces, file):
        (start,) = assert_start(
            where, on_path=["account"], not_on_path=["analytics"], after_first_word=["analytics"], within=0.31
        )
        assert start.ttfw_s == pytest.approx(0.3, abs=0.001)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"on_path": ["analytics"]}, "analytics is not on its path, account > playout"),
        ({"not_on_path": ["account"]}, "account is on its path, account > playout"),
        ({"after_first_word": ["account"]}, "task account began before the first word"),
        ({"after_first_word": ["nothing"]}, "task nothing did not run"),
        ({"within": 0.2}, "its first word came after 0.3 s, not within 0.2 s"),
        ({"outcome": Outcome.ABANDONED}, "it ended as first_word, not as abandoned"),
    ],
)
def test_what_does_not_hold_is_said(traces: Path, wanted: dict[str, object], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert_start(traces, **wanted)  # pyright: ignore[reportArgumentType]  # one of each of its parameters


def test_no_start_is_none_to_assert_on(tmp_path: Path) -> None:
    (tmp_path / "traces-1-a.jsonl").write_text("")
    with pytest.raises(AssertionError, match="expected a start in"):
        assert_start(tmp_path)
