"""examples/quickstart.py runs as its page says: a real server, a caller who hears it, a trace of its start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firstword.telemetry.vocabulary import ROOT
from tests.calls.own_agent import by_livekit, one_call
from tests.calls.traces import Span, spans_of

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

    def roots() -> list[Span]:
        return [span for span in spans_of(tmp_path / "traces") if span.name == ROOT]

    variables = {"HTTP_PORT": "0", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    await one_call(by_livekit(QUICKSTART), tmp_path, variables, exported=roots)
    (start,) = roots()
    assert start.attributes["startup.outcome"] == "first_word"
    assert start.attributes["startup.ttfw"] > 0
    assert start.attributes["lk.participant_kind"] == "PARTICIPANT_KIND_STANDARD"


def test_the_page_of_speak_first_counts_the_lines() -> None:
    """Those of the entrypoint are five at most, beside the import and the warm-up; the page shows each of them."""
    source = (TOP / "examples" / "speak_first.py").read_text().splitlines()
    changed = [line for line in source if line.endswith("# +")]
    page = (TOP / "docs" / "speak-first.md").read_text().splitlines()
    assert [line for line in changed if line not in page] == []
    beside = ("import", "warm_up", "prewarm")
    assert len([line for line in changed if not any(each in line for each in beside)]) <= 5
