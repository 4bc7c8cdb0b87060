"""One stage and one worker a profile for all session tests: a worker takes seconds to start, a session one."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from firstword.agent.accounts.store import AccountStore
from tests.calls.stage import Actor, Stage
from tests.calls.stage import stage as running_stage


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
    """A worker whose store takes a second a read, so that a caller can leave while a start goes on."""
    async with stage.actor("baseline", _slow(stage, "slow", 1000)) as actor:
        yield actor


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def slow_tuned(stage: Stage) -> AsyncGenerator[Actor]:
    """One with every improvement on, two seconds a read; its store is empty, else the worker would read it all first."""
    environment = _slow(stage, "slower", 2000)
    store = await AccountStore.open(environment["FIRSTWORD_STORE_URL"].partition("?")[0], seed=False)
    await store.aclose()
    async with stage.actor("tuned", environment) as actor:
        yield actor


def _slow(stage: Stage, name: str, read_ms: int) -> dict[str, str]:
    latency = stage.folder / f"{name}.toml"
    latency.write_text(f"[store]\nread = {{ median_ms = {read_ms}, sigma = 0 }}\n")
    return {
        "FIRSTWORD_STORE_URL": f"sqlite+simulated:///{stage.folder / name}.db?latency={latency}",
        "FIRSTWORD_CALLER_TIMEOUT": "20",
        "FIRSTWORD_RETURN_GRACE": "20",
        "FIRSTWORD_JOIN_WINDOW": "1",
    }
