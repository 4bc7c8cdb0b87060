"""One set of servers, and one worker for each profile, for all session tests: a worker takes seconds to start, a session one."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from firstword.agent.accounts.sql_store import SQLStore
from tests.calls.workers import CallServers, WorkerUnderTest, call_servers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[CallServers]:
    """LiveKit's server and the provider simulators."""
    async with call_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def baseline(servers: CallServers) -> AsyncGenerator[WorkerUnderTest]:
    """A worker with every improvement off."""
    async with servers.worker("baseline") as worker:
        yield worker


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tuned(servers: CallServers) -> AsyncGenerator[WorkerUnderTest]:
    """A worker with every improvement on."""
    async with servers.worker("tuned") as worker:
        yield worker


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def slow(servers: CallServers) -> AsyncGenerator[WorkerUnderTest]:
    """A worker whose store takes a second a read, so that a caller can leave while a start goes on."""
    async with servers.worker("baseline", _slow(servers, "slow", 1000)) as worker:
        yield worker


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def slow_tuned(servers: CallServers) -> AsyncGenerator[WorkerUnderTest]:
    """One with every improvement on, two seconds a read; its store is empty, else the worker would read it all first."""
    environment = _slow(servers, "slower", 2000)
    store = await SQLStore.open(environment["FIRSTWORD_STORE_URL"].partition("?")[0], seed=False)
    await store.aclose()
    async with servers.worker("tuned", environment) as worker:
        yield worker


def _slow(servers: CallServers, name: str, read_ms: int) -> dict[str, str]:
    latency = servers.folder / f"{name}.toml"
    latency.write_text(f"[store]\nread = {{ median_ms = {read_ms}, sigma = 0 }}\n")
    return {
        "FIRSTWORD_STORE_URL": f"sqlite+simulated:///{servers.folder / name}.db?latency={latency}",
        "FIRSTWORD_CALLER_TIMEOUT": "20",
        "FIRSTWORD_RETURN_GRACE": "20",
        "FIRSTWORD_JOIN_WINDOW": "1",
    }
