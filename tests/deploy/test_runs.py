"""Render and run: what the chart and Compose say is started here as it stands, takes a call, and ends without cutting it off."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from firstword.rehearsal.processes import free_ports
from tests.calls.waiting import PATIENCE
from tests.calls.workers import DEADLINES, CallServers, call_servers
from tests.deploy import pods
from tests.deploy.rendered import DEPLOY, render
from tests.deploy.rendered import pods as rendered_pods

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
    name = f"chart-{secrets.token_hex(3)}"
    (port,) = free_ports(1)
    values = {
        "livekit": {"url": servers.stack.livekit_url},
        "port": port,
        "drainSeconds": int(PATIENCE),
        "flags": {"enabled": True},
        "env": {
            **servers.providers,
            **dict.fromkeys(DEADLINES, PATIENCE),
            "FIRSTWORD_AGENT_NAME": name,
            "FIRSTWORD_IDLE_PROCESSES": 1,
        },
    }
    key = {"LIVEKIT_API_KEY": servers.stack.api_key, "LIVEKIT_API_SECRET": servers.stack.api_secret}
    secret = {"firstword": {**key, "OPENAI_API_KEY": "simulated", "DEEPGRAM_API_KEY": "simulated"}}
    manifests = await asyncio.to_thread(render, values)
    pod = rendered_pods(manifests)["worker"]
    places = {**IMAGE, **pods.mounts(pod, manifests, tmp_path / "volumes")}
    worker = pods.of_pod(pod, secret).moved(places)
    async with worker.running(DEPLOY.parent / "agent", tmp_path / "worker.log") as process:
        await worker.until("readiness", 200, process)
        caller = servers.caller(f"{name}-room", agent_name=name)
        await caller.connect()
        try:
            await caller.hear(PATIENCE)
            process.send_signal(signal.SIGTERM)
            await worker.until("readiness", 503, process)
            assert await worker.answers("liveness") == 200
            assert caller.room.remote_participants, "the agent left its caller"
        finally:
            await caller.leave()
        async with asyncio.timeout(pod["terminationGracePeriodSeconds"]):
            assert await process.wait() == 0, (tmp_path / "worker.log").read_text()[-2000:]
