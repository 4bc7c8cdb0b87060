"""Agents that speak first on a real server: the caller hears the greeting, and its start is a declared trace that keeps the contract."""

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
from firstword.tuning.testing import assert_start
from tests.calls.waiting import PATIENCE, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "speak_first.py"
CONNECTING = Path(__file__).parent / "connecting_agent.py"


async def greeted(agent: Path, folder: Path) -> tuple[Trace, bytes]:
    """The trace of one caller's start, and the worker's log."""
    async with LocalStack(folder) as stack, simulators(None, folder / "providers.log") as addresses:
        environment = {
            **{f"{name.upper()}_BASE_URL": address for name, address in addresses.items()},
            "OPENAI_API_KEY": "simulated",
            "DEEPGRAM_API_KEY": "simulated",
            "LIVEKIT_URL": stack.livekit_url,
            "LIVEKIT_API_KEY": stack.api_key,
            "LIVEKIT_API_SECRET": stack.api_secret,
            "HTTP_PORT": "0",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "FIRSTWORD_TRACES": str(folder / "traces"),
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        # `--dev`: else LiveKit's worker declines every job while the machine is busier than 70 %
        command = (sys.executable, "-m", "livekit.agents", "start", "--dev", str(agent))
        log = folder / "worker.log"
        with log.open("wb") as output:
            async with started(command, environment, output=output.fileno(), folder=folder):
                await until(lambda: b"registered worker" in log.read_bytes())
                token = join_token(stack, room="first", identity="caller")
                caller = RehearsalCaller(stack.livekit_url, token)
                await caller.connect()
                try:
                    await caller.hear(PATIENCE)
                    await until(lambda: bool(starts(folder / "traces")))
                finally:
                    await caller.leave()
                await until(lambda: b"the call ended: caller hung up" in log.read_bytes())
    assert_start(folder / "traces", on_path=["voice"], not_on_path=["session", "caller"], after_first_word=["session"])
    (trace,) = starts(folder / "traces")
    return trace, log.read_bytes()


def starts(folder: Path) -> list[Trace]:
    """The starts that have been exported."""
    if not any(folder.glob("*.jsonl")):  # the folder is there before its first file
        return []
    return [trace for trace in Files(folder).traces(Query(), ignore) if trace.is_start]


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
