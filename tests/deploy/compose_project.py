"""The Compose file without Docker: its LiveKit, Redis and providers as processes here, with what the file says of each.

Only the ports are others, since the file's own may be taken here. PostgreSQL is given: its image makes a database first.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livekit import api

from firstword.rehearsal.processes import Child, free_ports, running, started
from firstword.rehearsal.servers import LIVEKIT, find
from firstword.rehearsal.stack import Stack
from tests.calls.waiting import PATIENCE
from tests.calls.workers import PATIENT, CallServers
from tests.deploy.containers import CommandProbe, Container, image_environment
from tests.deploy.rendered import compose, image_command

PASSWORDS = {"LIVEKIT_API_SECRET": "s" * 32, "POSTGRES_PASSWORD": "p" * 32, "GRAFANA_PASSWORD": "g" * 32}
"""What deploy/.env has."""
PORTS: tuple[str, ...] = ("7880", "7882", "8090", "6379", "4317", "8081")
"""Those of LiveKit and its media, providers, Redis, collector and worker."""


@dataclass(frozen=True)
class ComposeProject:
    """What runs of it, and the worker's container, which does not run yet."""

    servers: CallServers
    worker: Container


def of_service(service: Mapping[str, Any]) -> Container:
    """A service of our own image as a container."""
    test = service.get("healthcheck", {}).get("test", ())
    probes = {"readiness": CommandProbe(test[1:])} if test[:1] == ["CMD"] else {}
    grace = float(service.get("stop_grace_period", "10s").removesuffix("s"))
    environment = {**image_environment(), **service.get("environment", {})}
    return Container(service.get("command") or image_command(), environment, probes, grace)


@contextlib.asynccontextmanager
async def compose_project(folder: Path, redis: Path, postgres_url: str) -> AsyncGenerator[ComposeProject]:
    """The project but for its worker, gone on exit. redis: its program. Each wait of the worker is long: no machine is too busy."""
    services: dict[str, dict[str, Any]] = (await asyncio.to_thread(compose, PASSWORDS))["services"]
    store = services["worker"]["environment"]["FIRSTWORD_STORE_URL"]
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    places = {store: postgres_url, "redis://127.0.0.1": f"redis://127.0.0.1:{ports['6379']}", **ports}
    patient = {"environment": services["worker"]["environment"] | PATIENT}
    worker = of_service(services["worker"] | patient).moved(places)
    livekit = Container((), services["livekit"]["environment"], {}, 0).moved(places)
    url = worker.environment["LIVEKIT_URL"]
    key, secret = worker.environment["LIVEKIT_API_KEY"], worker.environment["LIVEKIT_API_SECRET"]
    async with (
        _redis(folder, redis, services["redis"]["command"], ports["6379"]),
        running(await _livekit(folder, livekit.environment, ports)),
        _providers(folder, of_service(services["providers"]).moved({**places, "/opt/firstword": sys.prefix})),
        api.LiveKitAPI(url, key, secret) as rooms,
    ):
        stack = Stack(livekit_url=url, api_key=key, api_secret=secret, pid=0)
        yield ComposeProject(CallServers(stack, {}, folder, rooms), worker)


@contextlib.asynccontextmanager
async def _redis(folder: Path, program: Path, command: list[str], port: str) -> AsyncGenerator[None]:
    own = (str(program), *command[1:], "--port", port, "--bind", "127.0.0.1", "--dir", str(folder))
    with (folder / "redis.log").open("ab") as log:
        async with started(own, {}, output=log.fileno()):
            async with asyncio.timeout(PATIENCE):
                while not await _listens(int(port)):  # noqa: ASYNC110 - another process does
                    await asyncio.sleep(0.05)
            yield


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _livekit(folder: Path, environment: Mapping[str, str], ports: Mapping[str, str]) -> Child:
    return Child(
        name="livekit-server",
        command=(await find(LIVEKIT)).command((), folder, {}),
        environment=environment,
        inherit=False,
        log=folder / "livekit-server.log",
        ready_url=f"http://127.0.0.1:{ports['7880']}/",
        ready_s=PATIENCE,
    )


@contextlib.asynccontextmanager
async def _providers(folder: Path, providers: Container) -> AsyncGenerator[None]:
    """They end with their standard input, which the service keeps open."""
    with (folder / "providers.log").open("ab") as log:
        run = await asyncio.create_subprocess_exec(
            *providers.command, env=providers.environment, stdin=PIPE, stdout=PIPE, stderr=log
        )
        assert run.stdin is not None
        assert run.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                assert await run.stdout.readline(), (folder / "providers.log").read_text()
            yield
        finally:
            run.stdin.close()
            await run.wait()
