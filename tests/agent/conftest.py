"""One stage and one worker a profile for all session tests: a worker takes seconds to start, a session one."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.agent.stage import Actor, Stage
from tests.agent.stage import stage as running_stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage]:
    """LiveKit's server and the provider simulators."""
    async with running_stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def baseline(stage: Stage) -> AsyncGenerator[Actor]:
    """A worker with every improvement off."""
    async with stage.actor("baseline") as actor:
        yield actor


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tuned(stage: Stage) -> AsyncGenerator[Actor]:
    """A worker with every improvement on."""
    async with stage.actor("tuned") as actor:
        yield actor


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def slow(stage: Stage) -> AsyncGenerator[Actor]:
    """A worker whose store takes a second a read, so that a caller can leave while a start goes on; impatient with absent ones."""
    async with stage.actor("baseline", _slow(stage)) as actor:
        yield actor


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def slow_tuned(stage: Stage) -> AsyncGenerator[Actor]:
    """The same with every improvement on: only who calls for the first time has to wait for the store."""
    async with stage.actor("tuned", _slow(stage)) as actor:
        yield actor


def _slow(stage: Stage) -> dict[str, str]:
    latency = stage.folder / "slow.toml"
    latency.write_text("[store]\nread = { median_ms = 1000, sigma = 0 }\n")
    return {
        "FIRSTWORD_STORE_URL": f"sqlite+simulated:///{stage.folder / 'slow.db'}?latency={latency}",
        "FIRSTWORD_ACCOUNT_DEADLINE": "5",
        "FIRSTWORD_STORE_DEADLINE": "5",
        "FIRSTWORD_CALLER_TIMEOUT": "3",
        "FIRSTWORD_RETURN_GRACE": "1",
        "FIRSTWORD_JOIN_WINDOW": "1",
    }
