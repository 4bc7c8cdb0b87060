"""A real worker of other parts on a real server: LiveKit Inference for all three, and no key but LiveKit's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.calls.spoken import in_the_same_part_of_the_day
from tests.calls.workers import CallServers

pytestmark = [pytest.mark.real, pytest.mark.soak, pytest.mark.asyncio(loop_scope="session")]

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_a_worker_of_other_parts_greets(servers: CallServers) -> None:
    """By name, from the cache, with what the first word does not need after it; tests/agent/test_parts.py shows it on virtual time."""
    own = {
        "PYTHONPATH": str(EXAMPLES),
        "FIRSTWORD_PARTS": "own_parts:LiveKitInference",
        "OPENAI_API_KEY": "",
        "DEEPGRAM_API_KEY": "",
        "LIVEKIT_INFERENCE_URL": servers.providers["INFERENCE_BASE_URL"],
    }
    async with servers.worker("tuned", own) as worker:
        start = await worker.greets(in_the_same_part_of_the_day())
        assert start.outcome == "first_word"
        assert start["greeting"].attributes["startup.cache"] == "hit"
        assert start["deferred.session"].begin >= start.root.end
        assert not worker.errors()
