"""Runs the local stack: LiveKit's server and, where traces are wanted, collector and Jaeger, for as long as one command
runs.

Everything listens on 127.0.0.1. `firstword up` publishes where its stack is; other commands on the machine use that
one.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp
from livekit import api

from firstword.agent import folders
from firstword.rehearsal.files import data_file
from firstword.rehearsal.processes import Child, PortTaken, ServerError, free_ports, require_free, running
from firstword.rehearsal.servers import JAEGER, LIVEKIT, Program, Progress, find

_HOST: Final = "127.0.0.1"
_ANSWERS_S: Final = 2.0
_PASSED_ON: Final = frozenset({"HOME", "LANG", "PATH", "TMPDIR", "USER", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"})


class NotUsable(ServerError):
    """Raised where a server that should run already does not answer, or refuses the key."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of 127.0.0.1 on which each server of the stack listens; the defaults are the ones their users know."""

    livekit: int = 7880
    livekit_udp: int = 7882
    otlp_grpc: int = 4317
    otlp_http: int = 4318
    metrics: int = 8889
    collector_telemetry: int = 8888
    jaeger_http: int = 16686
    jaeger_grpc: int = 16685
    jaeger_otlp: int = 14317
    jaeger_health: int = 13133
    jaeger_telemetry: int = 18888
    prometheus: int = 9090

    @classmethod
    def free(cls) -> Self:
        """Returns ports on which nobody listens, from the kernel."""
        names = cls.__dataclass_fields__
        return cls(**dict(zip(names, free_ports(len(names)), strict=True)))

    @classmethod
    def usual(cls, say: Callable[[str], None]) -> Self:
        """Returns the default ports, with a free port in place of each that is taken.

        say: gets a sentence for each that is taken, which names both ports and who has the first.
        """
        ports = asdict(cls())
        for name, port in ports.items():
            try:
                require_free(port, socket.SOCK_DGRAM if name == "livekit_udp" else socket.SOCK_STREAM, name)
            except PortTaken as error:
                (ports[name],) = free_ports(1)
                say(f"{error}; {ports[name]} is used instead")
        return cls(**ports)


@dataclass(frozen=True, slots=True)
class Stack:
    """Addresses and keys of a running stack; those of the traces are None in a stack without Jaeger.

    `otlp_endpoint` is for OTLP over gRPC, `otlp_http_endpoint` for OTLP over HTTP, to which `/v1/traces` is added.
    Prometheus scrapes `metrics_url`. `jaeger_url` has the query API and, if `jaeger_page`, the web page.
    """

    livekit_url: str
    api_key: str
    api_secret: str
    pid: int
    otlp_endpoint: str | None = None
    otlp_http_endpoint: str | None = None
    metrics_url: str | None = None
    jaeger_url: str | None = None
    jaeger_page: bool = False


class LocalStack:
    """Runs the local stack as an async context manager: up on entry, gone on exit, whatever happened in between."""

    def __init__(
        self,
        folder: Path,
        *,
        jaeger: bool = False,
        ports: Ports | None = None,
        environment: Mapping[str, str] | None = None,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """`folder` gets configurations and logs; without `ports` the kernel gives free ones.

        `jaeger` adds collector and Jaeger, `environment` variables of their configurations (docs/collector.md).
        `report` hears of a build. Entering raises ServerError: NoServer, PortTaken, ServerFailed.
        """
        self._running = _run(folder.resolve(), ports or Ports.free(), jaeger, environment or {}, report)

    async def __aenter__(self) -> Stack:
        """Starts the servers in the order of need, each when the one before is ready."""
        return await self._running.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Ends them in reverse; ServerFailed if one of them had ended by itself."""
        return await self._running.__aexit__(kind, error, traceback)


@contextlib.asynccontextmanager
async def _run(
    folder: Path, ports: Ports, jaeger: bool, variables: Mapping[str, str], report: Callable[[Progress], None]
) -> AsyncGenerator[Stack]:
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 # microseconds
    livekit_program = await find(LIVEKIT, report)
    jaeger_program = await find(JAEGER, report) if jaeger else None
    stack = Stack(
        livekit_url=f"ws://{_HOST}:{ports.livekit}",
        api_key=f"API{secrets.token_hex(6)}",
        api_secret=secrets.token_urlsafe(32),
        pid=os.getpid(),
        otlp_endpoint=f"http://{_HOST}:{ports.otlp_grpc}" if jaeger else None,
        otlp_http_endpoint=f"http://{_HOST}:{ports.otlp_http}" if jaeger else None,
        metrics_url=f"http://{_HOST}:{ports.metrics}/metrics" if jaeger else None,
        jaeger_url=f"http://{_HOST}:{ports.jaeger_http}" if jaeger else None,
        jaeger_page=jaeger_program is not None and jaeger_program.origin != "built",
    )
    async with contextlib.AsyncExitStack() as servers:
        if jaeger_program is not None:
            await servers.enter_async_context(running(_jaeger(jaeger_program, folder, ports, variables)))
            await servers.enter_async_context(running(_collector(jaeger_program, folder, ports, variables)))
        await servers.enter_async_context(running(_livekit(livekit_program, folder, ports, stack)))
        yield stack


def _livekit(program: Program, folder: Path, ports: Ports, stack: Stack) -> Child:
    """LiveKit's server, media over loopback alone and through one port, UDP."""
    configuration = {
        "port": ports.livekit,
        "bind_addresses": [_HOST],
        "rtc": {
            "tcp_port": 0,  # none: LiveKit opens it on all interfaces, whatever it is told
            "allow_tcp_fallback": False,
            "udp_port": ports.livekit_udp,
            "node_ip": _HOST,
            "use_external_ip": False,
            "enable_loopback_candidate": True,
            "ips": {"includes": ["127.0.0.0/8"]},
        },
        "keys": {stack.api_key: stack.api_secret},
        "logging": {"level": "info"},
    }
    file = folder / "livekit.yaml"
    _write_private(file, configuration)
    return Child(
        name="livekit-server",
        command=program.command(("--config", str(file)), folder, {}),
        environment=_environment({}),
        inherit=False,
        log=folder / "livekit-server.log",
        ready_url=f"http://{_HOST}:{ports.livekit}/",
        tcp_ports=(ports.livekit,),
        udp_ports=(ports.livekit_udp,),
        end_with_parent=program.end_with_parent,
    )


def _jaeger(program: Program, folder: Path, ports: Ports, variables: Mapping[str, str]) -> Child:
    """Jaeger as the place where traces are kept and read."""
    environment = {
        "JAEGER_HTTP": f"{_HOST}:{ports.jaeger_http}",
        "JAEGER_GRPC": f"{_HOST}:{ports.jaeger_grpc}",
        "JAEGER_OTLP": f"{_HOST}:{ports.jaeger_otlp}",
        "JAEGER_HEALTH": f"{_HOST}:{ports.jaeger_health}",
        "JAEGER_TELEMETRY_HOST": _HOST,
        "JAEGER_TELEMETRY_PORT": str(ports.jaeger_telemetry),
        "JAEGER_PROMETHEUS": f"http://{_HOST}:{ports.prometheus}",
        **variables,
    }
    listens = (ports.jaeger_http, ports.jaeger_grpc, ports.jaeger_otlp, ports.jaeger_health, ports.jaeger_telemetry)
    return Child(
        name="jaeger",
        command=program.command(_configured("deploy/jaeger.yaml", folder), folder, environment),
        environment=_environment(environment),
        inherit=False,
        log=folder / "jaeger.log",
        ready_url=f"http://{_HOST}:{ports.jaeger_health}/status",
        tcp_ports=listens,
        end_with_parent=program.end_with_parent,
    )


def _collector(program: Program, folder: Path, ports: Ports, variables: Mapping[str, str]) -> Child:
    """The collector: Jaeger's binary with the configuration that production gives to the contrib image."""
    environment = {
        "COLLECTOR_OTLP_GRPC": f"{_HOST}:{ports.otlp_grpc}",
        "COLLECTOR_OTLP_HTTP": f"{_HOST}:{ports.otlp_http}",
        "COLLECTOR_METRICS": f"{_HOST}:{ports.metrics}",
        "COLLECTOR_TELEMETRY_HOST": _HOST,
        "COLLECTOR_TELEMETRY_PORT": str(ports.collector_telemetry),
        "COLLECTOR_TRACES_TO": f"{_HOST}:{ports.jaeger_otlp}",
        "COLLECTOR_METRICS_FLUSH": "1s",  # somebody waits for the result
        "FIRSTWORD_DECISION_WAIT": "1s",
        **variables,
    }
    return Child(
        name="collector",
        command=program.command(_configured("otel-collector.yaml", folder), folder, environment),
        environment=_environment(environment),
        inherit=False,
        log=folder / "collector.log",
        ready_url=f"http://{_HOST}:{ports.otlp_http}/v1/traces",
        ready_status=405,  # the receivers start last, and take POST only
        tcp_ports=(ports.otlp_grpc, ports.otlp_http, ports.metrics, ports.collector_telemetry),
        end_with_parent=program.end_with_parent,
    )


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """`variables` and of ours only what any program needs: LIVEKIT_KEYS, NODE_IP or OTEL_* would change the servers."""
    ours = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("DOCKER_")}
    return {**ours, **variables}


def _configured(name: str, folder: Path) -> tuple[str, str]:
    """Arguments for the configuration `name`, from a copy in `folder`: a container sees only that."""
    return ("--config", str(shutil.copy(data_file(name), folder)))


async def running_stack() -> Stack | None:
    """Returns the stack that `firstword up` runs on this machine; None where none runs, or it does not answer within 2 s."""
    try:
        stack = Stack(**json.loads(_state_file().read_text()))
    except (OSError, ValueError, TypeError):  # none, or of another version
        return None
    try:
        await require_livekit(stack, stack.livekit_url)
        if stack.jaeger_url is not None:
            async with (
                asyncio.timeout(_ANSWERS_S),
                aiohttp.ClientSession() as http,
                http.get(f"{stack.jaeger_url}/api/services") as answer,
            ):
                answer.raise_for_status()
    except (NotUsable, TimeoutError, aiohttp.ClientError):
        return None
    return stack


async def require_livekit(stack: Stack, name: str) -> None:
    """Raises NotUsable, which calls the server `name`, unless LiveKit's API answers within 2 s and takes the key."""
    try:
        async with (
            asyncio.timeout(_ANSWERS_S),
            api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
        ):
            await rooms.room.list_rooms(api.ListRoomsRequest())
    except api.TwirpError as error:
        if error.status not in (401, 403):
            raise NotUsable(f"no LiveKit server answers at {name}: {error.message}") from None
        raise NotUsable(
            f"LiveKit at {name} refuses the key ({error.message}); expected one that its server knows"
        ) from None
    except (TimeoutError, aiohttp.ClientError) as error:
        reason = str(error) or f"no answer within {_ANSWERS_S:g} s"
        raise NotUsable(f"nothing answers at {name}: {reason}") from None


@contextlib.contextmanager
def published(stack: Stack) -> Generator[None]:
    """Writes down for other commands of this user where `stack` is, for as long as the block runs."""
    file = _state_file()
    _write_private(file, asdict(stack))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _state_file() -> Path:
    return folders.cache_folder() / "stack.json"


def _write_private(file: Path, content: Mapping[str, object]) -> None:
    """Writes JSON that holds a secret, whole or not at all, for this user alone."""
    folders.make_private(file.parent)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(content, out, indent=2)
    draft.replace(file)
