"""examples/quickstart.py runs as its page says: a real server, a caller who hears it, a trace of its start."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from firstword.rehearsal.callers import RehearsalCaller, join_token
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.processes import started
from firstword.rehearsal.stack import LocalStack
from firstword.telemetry.vocabulary import ROOT
from tests.calls.traces import Span, spans_of
from tests.calls.waiting import PATIENCE, until

TOP = Path(__file__).parents[1]
QUICKSTART = TOP / "examples" / "quickstart.py"


def test_its_page_counts_the_lines_that_were_added() -> None:
    """Fewer than twenty, and as many as the page says."""
    added = sum(line.endswith("# +") for line in QUICKSTART.read_text().splitlines())
    page = (TOP / "docs" / "any-livekit-agent.md").read_text()
    said = re.search(r"(\d+) lines were added", page)
    assert said is not None
    assert int(said[1]) == added < 20


@pytest.mark.real
async def test_the_quickstart_is_heard_and_traced(tmp_path: Path) -> None:
    """Automatic dispatch: whoever comes is greeted, and its start has its first word in ./traces."""
    async with (
        LocalStack(tmp_path) as stack,
        simulators(None, tmp_path / "providers.log") as addresses,
    ):
        environment = {
            **{f"{name.upper()}_BASE_URL": address for name, address in addresses.items()},
            "OPENAI_API_KEY": "simulated",
            "DEEPGRAM_API_KEY": "simulated",
            "LIVEKIT_URL": stack.livekit_url,
            "LIVEKIT_API_KEY": stack.api_key,
            "LIVEKIT_API_SECRET": stack.api_secret,
            "HTTP_PORT": "0",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        # `--dev`: else LiveKit's worker declines every job while the machine is busier than 70 %
        command = (sys.executable, "-m", "livekit.agents", "start", "--dev", str(QUICKSTART))
        log = tmp_path / "worker.log"
        with log.open("wb") as output:
            async with started(command, environment, output=output.fileno(), folder=tmp_path):
                await until(lambda: b"registered worker" in log.read_bytes())
                token = join_token(stack, room="quickstart", identity="caller")
                start = await _start(RehearsalCaller(stack.livekit_url, token), tmp_path)
    assert start.attributes["startup.outcome"] == "first_word"
    assert start.attributes["startup.ttfw"] > 0
    assert start.attributes["lk.participant_kind"] == "PARTICIPANT_KIND_STANDARD"


async def _start(caller: RehearsalCaller, folder: Path) -> Span:
    """The root span of the start, of a caller who has heard the agent."""

    def roots() -> list[Span]:
        return [span for span in spans_of(folder / "traces") if span.name == ROOT]

    await caller.connect()
    try:
        await caller.hear(PATIENCE)
        await until(lambda: bool(roots()))
    finally:
        await caller.leave()
    (root,) = roots()
    return root


def test_the_page_of_speak_first_counts_the_lines() -> None:
    """Those of the entrypoint are five at most, beside the import and the warm-up; the page shows each of them."""
    source = (TOP / "examples" / "speak_first.py").read_text().splitlines()
    changed = [line for line in source if line.endswith("# +")]
    page = (TOP / "docs" / "speak-first.md").read_text().splitlines()
    assert [line for line in changed if line not in page] == []
    assert len([line for line in changed if "import" not in line and "warm_up" not in line]) <= 5
