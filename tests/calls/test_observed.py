"""A LiveKit agent that was not changed leaves an observed trace, in whatever LiveKit runs its jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.contract import violations
from firstword.rehearsal.callers import RehearsalCaller, join_token
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.processes import started
from firstword.rehearsal.stack import LocalStack
from firstword.telemetry import vocabulary as words
from firstword.tuning.files import Files
from firstword.tuning.notes import ignore
from firstword.tuning.sources import Query
from firstword.tuning.spans import Trace
from firstword.tuning.start import start_of
from tests.calls.waiting import PATIENCE, until

AGENT = Path(__file__).parent / "unchanged_agent.py"
BY_LIVEKIT = ("-m", "livekit.agents", "start", "--dev", str(AGENT))
"""`--dev`: else LiveKit's worker declines every job while the machine is busier than 70 %."""
BY_ITSELF = (str(AGENT), "dev", "--no-reload")


@pytest.mark.real
@pytest.mark.parametrize(
    ("command", "executor"),
    [
        (BY_LIVEKIT, {}),
        (BY_ITSELF, {"CONTEXT": "spawn"}),
        (BY_LIVEKIT, {"EXECUTOR": "thread"}),
    ],
    ids=["forkserver", "spawn", "thread"],
)
async def test_an_unchanged_agent_is_observed(
    tmp_path: Path, command: tuple[str, ...], executor: dict[str, str]
) -> None:
    """The wait for its account is named by its line, and the blocking call; the trace keeps the contract."""
    async with LocalStack(tmp_path) as stack, simulators(None, tmp_path / "providers.log") as addresses:
        environment = {
            **{f"{name.upper()}_BASE_URL": address for name, address in addresses.items()},
            "OPENAI_API_KEY": "simulated",
            "DEEPGRAM_API_KEY": "simulated",
            "LIVEKIT_URL": stack.livekit_url,
            "LIVEKIT_API_KEY": stack.api_key,
            "LIVEKIT_API_SECRET": stack.api_secret,
            "FIRSTWORD_OBSERVE": "1",
            **executor,
            "FIRSTWORD_TRACES": str(tmp_path / "traces"),
        }
        log = tmp_path / "worker.log"
        with log.open("wb") as output:
            async with started((sys.executable, *command), environment, output=output.fileno(), folder=tmp_path):
                await until(lambda: b"registered worker" in log.read_bytes())
                token = join_token(stack, room="unchanged", identity="caller")
                caller = RehearsalCaller(stack.livekit_url, token)
                await caller.connect()
                try:
                    await caller.hear(PATIENCE)
                    await until(lambda: bool(starts(tmp_path / "traces")))
                finally:
                    await caller.leave()
    (trace,) = starts(tmp_path / "traces")
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
    assert b"Traceback" not in log.read_bytes()
    assert words.DECLARED not in trace.root.attributes


def starts(folder: Path) -> list[Trace]:
    """The starts that have been exported."""
    if not any(folder.glob("*.jsonl")):  # the folder is there before its first file
        return []
    return [trace for trace in Files(folder).traces(Query(), ignore) if trace.is_start]
