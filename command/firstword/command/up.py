"""`firstword up`: runs all that a conversation needs, on this machine, until Ctrl-C; prints where to find it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from firstword.agent.flags.improvements import UnknownFlag, profile
from firstword.command.completion import profile_names
from firstword.command.environment import load_environment
from firstword.command.progress import Lines
from firstword.command.terminal import BAD_INPUT, INTERRUPTED, fail
from firstword.rehearsal.callers import join_token
from firstword.rehearsal.environment import choose, own_store, running_servers
from firstword.rehearsal.processes import Child, ServerError, running
from firstword.rehearsal.providers.latency import Latencies, LatencyError
from firstword.rehearsal.result import LOGS, new_folder
from firstword.rehearsal.servers import Progress
from firstword.rehearsal.stack import LocalStack, Ports, Stack, published, running_stack
from firstword.rehearsal.workers import running_worker

AGENT_NAME = "firstword"
ROOM = "try-it"
PAGE = "https://meet.livekit.io/?tab=custom"
"""Address of somebody else's page: the token is pasted, so that it is in no address, history or log of theirs."""


def command(
    profile_name: Annotated[
        str,
        typer.Option(
            "--profile",
            metavar="NAME",
            autocompletion=profile_names,
            help="`baseline`, `tuned`, or flags by name with commas.",
        ),
    ] = "tuned",
    providers: Annotated[
        Path | None, typer.Option(metavar="FILE", resolve_path=True, help="Latency model of the simulated providers.")
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="Real providers, with the keys set here.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the addresses as one line of JSON, and nothing else, once all is up.")
    ] = False,
) -> None:
    """Run LiveKit, collector, Jaeger and worker on this machine until Ctrl-C.

    Prints the address of each, and a token to join a room with and talk to the agent. A port that is taken is named,
    and another one used. While it runs, other commands on this machine use its servers. The first time, Jaeger is built
    if it is not installed: about eight minutes.

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
        asyncio.run(_up(profile_name, providers, real, as_json))
    except ServerError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


async def _up(profile_name: str, latencies: Path | None, real: bool, as_json: bool) -> None:
    if there := await running_stack():
        fail(
            f"a stack runs on this machine already (pid {there.pid}); end it with Ctrl-C where it was started, or with `kill {there.pid}`"
        )
    # LiveKit is ours here, whatever the shell says: the shell's key would not open it.
    providers_only = {name: value for name, value in load_environment().items() if not name.startswith("LIVEKIT_")}
    choice = await choose(providers_only, real=real, latencies=latencies)
    typer.echo(choice.sentence, err=as_json)
    report = Lines()
    ports = Ports.usual(lambda sentence: typer.echo(sentence, err=True))
    folder = new_folder(platformdirs.user_state_path("firstword") / "up")
    logs = folder / LOGS
    async with contextlib.AsyncExitStack() as everything:
        stack = await everything.enter_async_context(LocalStack(logs, jaeger=True, ports=ports, report=report))
        servers = await everything.enter_async_context(
            running_servers(replace(choice, stack=stack), logs, report=report)
        )
        prometheus = await everything.enter_async_context(_prometheus(stack, ports.prometheus, folder))
        report(Progress("starting the worker"))
        worker = await everything.enter_async_context(
            running_worker(
                profile_name,
                agent_name=AGENT_NAME,
                folder=folder,
                stack=stack,
                environment={**servers.variables, **own_store(choice, folder, profile_name)},
                real=real,
            )
        )
        await worker.registered()
        everything.enter_context(published(stack))
        addresses = _addresses(stack, prometheus, folder)
        typer.echo(json.dumps(asdict(addresses)) if as_json else "\n".join(_lines(addresses)))
        await worker.ended()


@contextlib.asynccontextmanager
async def _prometheus(stack: Stack, port: int, folder: Path) -> AsyncGenerator[str | None]:
    """Runs Prometheus where it is on PATH, with the collector's metrics to scrape; its address, or None."""
    program = shutil.which("prometheus")
    if program is None or stack.metrics_url is None:
        yield None
        return
    address = f"127.0.0.1:{port}"
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
        tcp_ports=(port,),
    )
    async with running(child):
        yield f"http://{address}"


@dataclass(frozen=True, slots=True)
class StackAddresses:
    """Addresses of everything that runs: the stable keys of `up --json` (docs/up.md)."""

    livekit_url: str
    api_key: str
    secret_file: str
    """File with LiveKit's configuration, which has the secret under `keys`."""
    otlp_endpoint: str | None
    otlp_http_endpoint: str | None
    jaeger_url: str | None
    jaeger_page: bool
    """Whether Jaeger has its web page, beside the query API."""
    metrics_url: str | None
    prometheus_url: str | None
    agent_name: str
    room: str
    token: str
    """Token with which a caller joins the room; the agent comes with them."""
    page: str
    """LiveKit's form in a browser, into which `livekit_url` and `token` are pasted."""
    folder: str
    """Folder with logs and traces."""


def _addresses(stack: Stack, prometheus: str | None, folder: Path) -> StackAddresses:
    token = join_token(stack, room=ROOM, identity="you", agent_name=AGENT_NAME)
    return StackAddresses(
        livekit_url=stack.livekit_url,
        api_key=stack.api_key,
        secret_file=str(folder / LOGS / "livekit.yaml"),
        otlp_endpoint=stack.otlp_endpoint,
        otlp_http_endpoint=stack.otlp_http_endpoint,
        jaeger_url=stack.jaeger_url,
        jaeger_page=stack.jaeger_page,
        metrics_url=stack.metrics_url,
        prometheus_url=prometheus,
        agent_name=AGENT_NAME,
        room=ROOM,
        token=token,
        page=PAGE,
        folder=str(folder),
    )


def _lines(at: StackAddresses) -> list[str]:
    if at.jaeger_page:
        jaeger = f"Jaeger      {at.jaeger_url}/search?service=firstword"
    else:
        jaeger = (
            f"Jaeger      {at.jaeger_url}/api/traces?service=firstword\n"
            "            (query API only: a build from the module has no web page; a release on PATH, or Docker, has.\n"
            "            Until then: `firstword critical-chain` and `firstword plot`)"
        )
    return [
        f"LiveKit     {at.livekit_url}  (key {at.api_key}, secret in {at.secret_file})",
        f"Collector   {at.otlp_endpoint} (OTLP over gRPC), {at.otlp_http_endpoint} (HTTP)",
        jaeger,
        f"Metrics     {at.prometheus_url or f'{at.metrics_url} (no prometheus on PATH)'}",
        f"Worker      agent name {at.agent_name}; logs and traces in {at.folder}",
        f"Token       {at.token}",
        f"Talk to it  {at.page}: choose Custom, paste {at.livekit_url} and the token",
        "Ctrl-C stops all.",
    ]
