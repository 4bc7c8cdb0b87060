"""Render and run: what the chart renders, and what the Compose file says, is started here as it stands, takes a call, and
ends without cutting it off.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.calls.workers import CallServers, call_servers
from tests.deploy import pods
from tests.deploy.called import call, manifests_for, worker_container, worker_pod
from tests.deploy.compose_project import compose_project
from tests.deploy.rendered import DEPLOY
from tests.postgres import postgres_url as postgres_url
from tests.redis import redis_server

pytestmark = [pytest.mark.real, pytest.mark.deploy, pytest.mark.asyncio(loop_scope="session")]

IMAGE = {"/opt/firstword": sys.prefix}
"""Where the image's own folders are here; its `/app` is the folder a process is started in."""
WORKDIR = DEPLOY.parent / "agent"


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
    volumes = {path: str(place) for path, place in pods.mounts(pod, manifests, tmp_path / "volumes").items()}
    worker = worker_container(servers, pod).moved({**IMAGE, **volumes})
    await call(servers, name, worker, tmp_path, workdir=WORKDIR)


async def test_a_caller_of_the_compose_services_is_greeted_and_not_cut_off_when_the_worker_ends(
    tmp_path: Path,
    postgres_url: str,
) -> None:
    """With the LiveKit, Redis and providers that the file names. Its ports are others here, and PostgreSQL is the tests'."""
    async with compose_project(tmp_path, redis_server(), postgres_url) as project:
        worker = project.worker.moved(IMAGE)
        log = await call(project.servers, "firstword", worker, tmp_path, workdir=WORKDIR)
    assert "sessions go on without the" not in log, "the worker did not reach Redis"
    assert "accounts and greetings are not kept fresh" not in log, "the worker did not reach PostgreSQL"
