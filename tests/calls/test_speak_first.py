"""Agents that speak first on a real server: the caller hears the greeting, and its start is a declared trace that keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.contract import violations
from firstword.telemetry import vocabulary as words
from firstword.tuning.spans import Trace
from firstword.tuning.start import start_of
from firstword.tuning.testing import assert_start
from tests.calls.own_agent import by_livekit, one_call, starts

EXAMPLE = Path(__file__).parents[2] / "examples" / "speak_first.py"
CONNECTING = Path(__file__).parent / "connecting_agent.py"


async def greeted(agent: Path, folder: Path) -> tuple[Trace, bytes]:
    """The trace of one caller's start, and the worker's log."""
    traces = folder / "traces"
    variables = {
        "HTTP_PORT": "0",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "FIRSTWORD_TRACES": str(traces),
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    ended = b"the call ended: caller hung up"
    log = await one_call(by_livekit(agent), folder, variables, exported=lambda: starts(traces), last_words=ended)
    assert_start(traces, on_path=["voice"], not_on_path=["session", "caller"], after_first_word=["session"])
    (trace,) = starts(traces)
    return trace, log


@pytest.mark.real
async def test_the_example_is_heard_and_traced(tmp_path: Path) -> None:
    """The first caller of all finds the greeting recorded, since the process has warmed up."""
    trace, log = await greeted(EXAMPLE, tmp_path)
    start = start_of(trace)
    assert (start.method, violations(trace, shipped=False)) == ("exact", [])
    assert [task.cache for task in start.tasks if task.name == "prepared_greeting"] == ["hit"]
    assert words.CONNECTED_BEFORE not in trace.root.attributes
    assert b"Traceback" not in log


@pytest.mark.real
@pytest.mark.soak
async def test_an_agent_that_connects_and_greets_by_itself_speaks_first(tmp_path: Path) -> None:
    """It goes on from the agent's own connect, whose time is on the trace; what `on_enter` says is dropped."""
    trace, log = await greeted(CONNECTING, tmp_path)
    start = start_of(trace)
    assert (start.method, violations(trace, shipped=False)) == ("exact", [])
    before = trace.root.attributes[words.CONNECTED_BEFORE]
    entrypoint = sum(piece.duration_us for piece in start.path if piece.name == "dispatch.entrypoint") / 1e6
    assert before == pytest.approx(entrypoint, abs=0.05)
    assert log.count(b"what on_enter of Assistant says is dropped") == 1
    assert b"Traceback" not in log
