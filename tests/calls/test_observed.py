"""A LiveKit agent that was not changed leaves an observed trace, in whatever LiveKit runs its jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.contract import violations
from firstword.telemetry import vocabulary as words
from firstword.tuning.start import start_of
from tests.calls.own_agent import by_livekit, one_call, starts

AGENT = Path(__file__).parent / "unchanged_agent.py"
BY_LIVEKIT = by_livekit(AGENT)
BY_ITSELF = (str(AGENT), "dev", "--no-reload")


@pytest.mark.real
@pytest.mark.parametrize(
    ("command", "executor"),
    [
        (BY_LIVEKIT, {}),
        pytest.param(BY_ITSELF, {"CONTEXT": "spawn"}, marks=pytest.mark.soak),
        pytest.param(BY_LIVEKIT, {"EXECUTOR": "thread"}, marks=pytest.mark.soak),
    ],
    ids=["forkserver", "spawn", "thread"],
)
async def test_an_unchanged_agent_is_observed(
    tmp_path: Path, command: tuple[str, ...], executor: dict[str, str]
) -> None:
    """The wait for its account is named by its line, and the blocking call; the trace keeps the contract."""
    traces = tmp_path / "traces"
    variables = {"FIRSTWORD_OBSERVE": "1", **executor, "FIRSTWORD_TRACES": str(traces)}
    log = await one_call(command, tmp_path, variables, exported=lambda: starts(traces))
    (trace,) = starts(traces)
    start = start_of(trace)
    assert (start.method, start.outcome, violations(trace)) == ("observed", "first_word", [])
    waited: dict[str, int] = {}
    for piece in start.path:
        if piece.source is not None:
            assert not piece.source.file.startswith("/")
            name = f"{piece.source.file} {piece.source.function} {piece.kind}"
            waited[name] = waited.get(name, 0) + piece.duration_us
    assert 290_000 < waited["unchanged_agent.py read_account timer"] < 600_000
    assert waited["unchanged_agent.py entrypoint computing"] > 95_000
    assert b"Traceback" not in log
    assert words.DECLARED not in trace.root.attributes
