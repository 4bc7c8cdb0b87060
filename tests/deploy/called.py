"""A caller of a deployed worker: it is ready, greets them, is told to end, and does not cut them off."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from firstword.rehearsal.processes import free_ports
from tests.calls.waiting import PATIENCE
from tests.calls.workers import PATIENT, CallServers
from tests.deploy import pods
from tests.deploy.containers import Container
from tests.deploy.rendered import Manifest, render
from tests.deploy.rendered import pods as rendered_pods


async def manifests_for(servers: CallServers) -> tuple[str, list[Manifest]]:
    """The name of an agent, and what the chart renders for it with the servers' addresses."""
    name = f"chart-{secrets.token_hex(3)}"
    (port,) = free_ports(1)
    variables = {**servers.providers, **PATIENT}
    values = {
        "livekit": {"url": servers.stack.livekit_url},
        "port": port,
        "drainSeconds": int(PATIENCE),
        "flags": {"enabled": True},
        "env": {**variables, "FIRSTWORD_AGENT_NAME": name},
    }
    return name, await asyncio.to_thread(render, values)


def worker_pod(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The pod of the workers."""
    return rendered_pods(manifests)["worker"]


def worker_container(servers: CallServers, pod: Mapping[str, Any], *, ip: str = pods.POD_IP) -> Container:
    """Its container, with the Secret that the pod names."""
    keys = {"LIVEKIT_API_KEY": servers.stack.api_key, "LIVEKIT_API_SECRET": servers.stack.api_secret}
    secret = {"firstword": {**keys, "OPENAI_API_KEY": "simulated", "DEEPGRAM_API_KEY": "simulated"}}
    return pods.of_pod(pod, secret, ip=ip)


async def call(
    servers: CallServers,
    name: str,
    worker: Container,
    folder: Path,
    *,
    within: Sequence[str] = (),
    workdir: Path | None = None,
) -> str:
    """Start the worker's process, call it, end it by SIGTERM in the call, and see it out. Returns what it logged.

    `within`: a command that runs its arguments elsewhere, under the same process id.
    """
    log = folder / "worker.log"
    async with worker.running(log, within=within, folder=workdir) as process:
        try:
            await worker.until("readiness", process, passes=True)
            caller = servers.caller(f"{name}-room", agent_name=name)
            await caller.connect()
            try:
                await caller.hear(PATIENCE)
                process.send_signal(signal.SIGTERM)
                await worker.until("readiness", process, passes=False)
                if "liveness" in worker.probes:
                    assert await worker.passes("liveness")
                assert caller.room.remote_participants, "the agent left its caller"
            finally:
                await caller.leave()
            async with asyncio.timeout(worker.grace):
                assert await process.wait() == 0
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"The worker's log ends with:\n{log.read_text(errors='replace')[-3000:]}")
            raise
    return log.read_text(errors="replace")
