"""`firstword up`: runs all that a conversation needs, on this machine, until Ctrl-C; prints where to find it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
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
from firstword.rehearsal.machines import Machine, Machines, two_machines
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.processes import Child, ServerError, ServerFailed, running
from firstword.rehearsal.providers.latency import Latencies, LatencyError
from firstword.rehearsal.result import LOGS, new_folder
from firstword.rehearsal.servers import Progress
from firstword.rehearsal.stack import LocalStack, Stack, published, running_stack
from firstword.rehearsal.workers import RunningWorker, running_worker

AGENT_NAME = "firstword"
ROOM = "try-it"
_SAMPLING = ("FIRSTWORD_KEEP_PERCENT", "FIRSTWORD_DECISION_WAIT")
"""What the collectors take from the environment (docs/collector.md)."""
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
    machines: Annotated[
        int,
        typer.Option(
            min=1,
            max=2,
            metavar="N",
            help="`2`: a second LiveKit node, collector and worker. Redis and PostgreSQL are shared.",
        ),
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the addresses as one line of JSON, and nothing else, once all is up.")
    ] = False,
) -> None:
    """Run LiveKit, collector, Jaeger and worker on this machine until Ctrl-C.

    Prints the address of each, and a token to join a room with and talk to the agent. A port that is taken is named,
    and another one used. While it runs, other commands on this machine use its servers. The first time, Jaeger is built
    if it is not installed: about eight minutes.

    `--machines 2` runs what two machines run, on this one: two of each, joined as in production. It needs redis-server
    on PATH or Docker, and uses PostgreSQL where it is on PATH.

    **Examples**

    `firstword up`

    `firstword up --profile baseline`

    `firstword up --machines 2`
    """
    try:
        profile(profile_name)
        Latencies.load(providers)
    except UnknownFlag as error:
        fail(f"--profile: {error}", code=BAD_INPUT)
    except LatencyError as error:
        fail(f"--providers {error}", code=BAD_INPUT)
    try:
        asyncio.run(_up(profile_name, providers, real, machines, as_json))
    except ServerError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


async def _up(profile_name: str, latencies: Path | None, real: bool, count: int, as_json: bool) -> None:
    if there := await running_stack():
        fail(
            f"a stack runs on this machine already (pid {there.pid}); end it with Ctrl-C where it was started, or with `kill {there.pid}`"
        )
    # LiveKit is ours here, whatever the shell says: the shell's key would not open it.
    providers_only = {name: value for name, value in load_environment().items() if not name.startswith("LIVEKIT_")}
    choice = await choose(providers_only, real=real, latencies=latencies)
    typer.echo(choice.sentence, err=as_json)
    report = Lines()
    folder = new_folder(platformdirs.user_state_path("firstword") / "up")
    async with contextlib.AsyncExitStack() as everything:
        ports = Ports().free_where_taken(_say)
        machines = await everything.enter_async_context(_machines(count, folder, ports, report))
        first = machines.each[0].stack
        servers = await everything.enter_async_context(
            running_servers(replace(choice, stack=first), folder / LOGS, report=report)
        )
        prometheus = await everything.enter_async_context(
            _prometheus([machine.stack for machine in machines.each], ports.prometheus, folder)
        )
        shared = {**own_store(choice, folder, profile_name), **({} if real else machines.variables)}
        workers: list[RunningWorker] = []
        for number, machine in enumerate(machines.each, 1):
            report(Progress("starting the worker", number if count > 1 else 0, count if count > 1 else 0))
            worker = await everything.enter_async_context(
                running_worker(
                    profile_name,
                    agent_name=AGENT_NAME,
                    folder=machine.folder,
                    stack=machine.stack,
                    environment={**servers.variables, **shared, **_exports_to(machine.stack)},
                    real=real,
                )
            )
            await worker.registered()
            workers.append(worker)
        everything.enter_context(published(first))
        addresses = _addresses(machines, prometheus, folder)
        typer.echo(json.dumps(asdict(addresses)) if as_json else "\n".join(_lines(addresses)))
        await _all_ended(workers)


@contextlib.asynccontextmanager
async def _machines(
    count: int, folder: Path, ports: Ports, report: Callable[[Progress], None]
) -> AsyncGenerator[Machines]:
    """The servers of so many machines, all of which run on this one."""
    sampling = {name: os.environ[name] for name in _SAMPLING if name in os.environ}
    if count > 1:
        async with two_machines(folder, ports=ports, environment=sampling, say=_say, report=report) as machines:
            yield machines
        return
    async with LocalStack(folder / LOGS, jaeger=True, ports=ports, environment=sampling, report=report) as stack:
        yield Machines([Machine(stack, folder)])


def _exports_to(stack: Stack) -> dict[str, str]:
    """A worker exports to the collector of its own machine."""
    return {} if stack.otlp_endpoint is None else {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_endpoint}


async def _all_ended(workers: Sequence[RunningWorker]) -> None:
    """Until none of the workers is left: then ServerFailed has the last one's last words, and each other's are said."""
    left = {asyncio.create_task(worker.ended()) for worker in workers}
    try:
        while True:
            ended, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for each in ended:
                error = each.exception()
                if error is not None and (not left or not isinstance(error, ServerFailed)):
                    raise error
                _say(str(error))
    finally:
        for each in left:
            each.cancel()


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)


@contextlib.asynccontextmanager
async def _prometheus(stacks: Sequence[Stack], port: int, folder: Path) -> AsyncGenerator[str | None]:
    """Runs Prometheus where it is on PATH, with the collectors' metrics to scrape; its address, or None."""
    program = shutil.which("prometheus")
    if program is None:
        yield None
        return
    address = f"127.0.0.1:{port}"
    urls = [stack.metrics_url for stack in stacks if stack.metrics_url is not None]
    targets = [url.removeprefix("http://").removesuffix("/metrics") for url in urls]
    scrape = {"job_name": "firstword", "scrape_interval": "5s", "static_configs": [{"targets": targets}]}
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
class MachineAddresses:
    """Addresses of one machine, and the folder of its logs and of its worker's traces."""

    livekit_url: str
    otlp_endpoint: str | None
    otlp_http_endpoint: str | None
    metrics_url: str | None
    folder: str


@dataclass(frozen=True, slots=True)
class StackAddresses:
    """Addresses of everything that runs: the stable keys of `up --json` (docs/up.md).

    With several machines, `livekit_url`, `otlp_endpoint`, `otlp_http_endpoint` and `metrics_url` are the first one's.
    """

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
    machines: Sequence[MachineAddresses]
    """Each machine; a list of one without `--machines`."""
    redis_url: str | None
    """What the machines' nodes and caches share; None with one machine."""
    store_url: str | None
    """The accounts in PostgreSQL; None with one machine, and where no PostgreSQL was found."""


def _addresses(machines: Machines, prometheus: str | None, folder: Path) -> StackAddresses:
    stack = machines.each[0].stack
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
        machines=[
            MachineAddresses(
                livekit_url=each.stack.livekit_url,
                otlp_endpoint=each.stack.otlp_endpoint,
                otlp_http_endpoint=each.stack.otlp_http_endpoint,
                metrics_url=each.stack.metrics_url,
                folder=str(each.folder),
            )
            for each in machines.each
        ],
        redis_url=machines.redis_url,
        store_url=machines.store_url,
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
    second = [
        line
        for each in at.machines[1:]
        for line in (
            f"Machine 2   LiveKit {each.livekit_url}, collector {each.otlp_endpoint}, {each.otlp_http_endpoint} (HTTP)",
            f"            metrics {each.metrics_url}; logs and traces in {each.folder}",
            f"Shared      {at.redis_url}, {at.store_url or 'an SQLite file'}",
        )
    ]
    return [
        f"LiveKit     {at.livekit_url}  (key {at.api_key}, secret in {at.secret_file})",
        f"Collector   {at.otlp_endpoint} (OTLP over gRPC), {at.otlp_http_endpoint} (HTTP)",
        jaeger,
        f"Metrics     {at.prometheus_url or f'{at.metrics_url} (no prometheus on PATH)'}",
        f"Worker      agent name {at.agent_name}; logs and traces in {at.folder}",
        *second,
        f"Token       {at.token}",
        f"Talk to it  {at.page}: choose Custom, paste {at.livekit_url} and the token",
        "Ctrl-C stops all.",
    ]
