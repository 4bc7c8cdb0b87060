"""`firstword up`: all that a conversation needs, on this machine, until Ctrl-C; prints where to find it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import platformdirs
import typer

from agent.flags import UnknownFlag, profile
from firstword.progress import Lines
from firstword.terminal import BAD_INPUT, INTERRUPTED, fail
from rehearsal.callers import join_token
from rehearsal.processes import Child, ServerError, running
from rehearsal.providers.latency import Latencies, LatencyError
from rehearsal.result import LOGS, new_folder
from rehearsal.servers import Progress
from rehearsal.stack import LocalStack, Ports, Stack, published, running_stack
from rehearsal.surroundings import choose, opened, own_store, shell
from rehearsal.workers import running_worker

AGENT_NAME = "firstword"
ROOM = "try-it"
_PROMETHEUS_PORT = 9090


def command(
    profile_name: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="`baseline`, `tuned`, or flags by name with commas.")
    ] = "tuned",
    providers: Annotated[
        Path | None, typer.Option(metavar="FILE", resolve_path=True, help="Latency model of the simulated providers.")
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="Real providers, with the keys set here.")] = False,
) -> None:
    """Run LiveKit, collector, Jaeger and worker on this machine until Ctrl-C.

    Prints the address of each, and a token to join a room with and talk to the agent. While it runs, other commands
    on this machine use its servers. The first time, Jaeger is built if it is not installed: about eight minutes.

    **Examples**

    `firstword up`

    `firstword up --profile baseline`
    """
    try:
        profile(profile_name)
        Latencies.load(providers)
    except UnknownFlag as error:
        fail(f"--profile: {error}", code=BAD_INPUT)
    except LatencyError as error:
        fail(f"--providers {error}", code=BAD_INPUT)
    try:
        asyncio.run(_up(profile_name, providers, real))
    except ServerError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


async def _up(profile_name: str, latencies: Path | None, real: bool) -> None:
    if there := await running_stack():
        fail(f"a stack runs on this machine already (pid {there.pid}); end it with Ctrl-C where it was started")
    # LiveKit is ours here, whatever the shell says: the shell's key would not open it.
    providers_only = {name: value for name, value in shell().items() if not name.startswith("LIVEKIT_")}
    choice = await choose(providers_only, real=real, latencies=latencies)
    typer.echo(choice.sentence)
    report = Lines()
    folder = new_folder(platformdirs.user_state_path("firstword") / "up")
    logs = folder / LOGS
    async with contextlib.AsyncExitStack() as everything:
        stack = await everything.enter_async_context(LocalStack(logs, jaeger=True, ports=Ports(), report=report))
        place = await everything.enter_async_context(opened(replace(choice, stack=stack), logs, report=report))
        prometheus = await everything.enter_async_context(_prometheus(stack, folder))
        report(Progress("starting the worker"))
        worker = await everything.enter_async_context(
            running_worker(
                profile_name,
                agent_name=AGENT_NAME,
                folder=folder,
                stack=stack,
                environment={**place.environment, **own_store(choice, folder, profile_name)},
                real=real,
            )
        )
        await worker.registered()
        everything.enter_context(published(stack))
        for line in _addresses(stack, prometheus, folder):
            typer.echo(line)
        await worker.ended()


@contextlib.asynccontextmanager
async def _prometheus(stack: Stack, folder: Path) -> AsyncGenerator[str | None]:
    """Runs Prometheus where it is on PATH, with the collector's metrics to scrape; its address, or None."""
    program = shutil.which("prometheus")
    if program is None or stack.metrics_url is None:
        yield None
        return
    address = f"127.0.0.1:{_PROMETHEUS_PORT}"
    target = stack.metrics_url.removeprefix("http://").removesuffix("/metrics")
    scrape = {"job_name": "firstword", "scrape_interval": "5s", "static_configs": [{"targets": [target]}]}
    file = folder / "prometheus.yaml"
    file.write_text(json.dumps({"scrape_configs": [scrape]}))  # JSON is YAML
    child = Child(
        name="prometheus",
        command=(
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={address}",
        ),
        environment={},
        log=folder / LOGS / "prometheus.log",
        ready_url=f"http://{address}/-/ready",
        tcp_ports=(_PROMETHEUS_PORT,),
    )
    async with running(child):
        yield f"http://{address}"


def _addresses(stack: Stack, prometheus: str | None, folder: Path) -> list[str]:
    token = join_token(stack, room=ROOM, identity="you", agent_name=AGENT_NAME)
    page = f"https://meet.livekit.io/custom?{urlencode({'liveKitUrl': stack.livekit_url, 'token': token})}"
    if stack.jaeger_page:
        jaeger = f"Jaeger      {stack.jaeger_url}/search?service=firstword"
    else:
        jaeger = (
            f"Jaeger      {stack.jaeger_url}/api/traces?service=firstword\n"
            "            (query API only: a build from the module has no web page; a release on PATH, or Docker, has.\n"
            "            Until then: `firstword critical-chain` and `firstword plot`)"
        )
    return [
        f"LiveKit     {stack.livekit_url}  (key {stack.api_key}, secret in {folder / LOGS / 'livekit.yaml'})",
        f"Collector   {stack.otlp_endpoint} (OTLP over gRPC), {stack.otlp_http_endpoint} (HTTP)",
        jaeger,
        f"Metrics     {prometheus or f'{stack.metrics_url} (no prometheus on PATH)'}",
        f"Worker      agent name {AGENT_NAME}; logs and traces in {folder}",
        f"Token       {token}",
        f"Talk to it  {page}",
        "Ctrl-C stops all.",
    ]
