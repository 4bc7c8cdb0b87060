"""Render and run: what the chart renders is started here as it stands, takes a call, and ends without cutting it off."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.calls.workers import CallServers, call_servers
from tests.deploy import pods
from tests.deploy.called_pod import call, manifests_for, worker_pod
from tests.deploy.rendered import DEPLOY

pytestmark = [pytest.mark.real, pytest.mark.deploy, pytest.mark.asyncio(loop_scope="session")]

IMAGE = {"/opt/firstword": sys.prefix}
"""Where the image's own folders are here; its `/app` is the folder a process is started in."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[CallServers]:
    async with call_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


async def test_a_caller_of_the_charts_pod_is_greeted_and_not_cut_off_when_it_ends(
    servers: CallServers, tmp_path: Path
) -> None:
    """Ready when its probe says so, not ready from SIGTERM on, alive until the call is over, and gone within the grace."""
    name, manifests = await manifests_for(servers)
    pod = worker_pod(manifests)
    places = {**IMAGE, **pods.mounts(pod, manifests, tmp_path / "volumes")}
    await call(servers, name, pod, tmp_path, places=places, workdir=DEPLOY.parent / "agent")
