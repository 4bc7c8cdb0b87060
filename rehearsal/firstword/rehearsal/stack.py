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
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp
from livekit import api

from firstword.agent import folders
from firstword.rehearsal.files import write_private
from firstword.rehearsal.local_servers import HOST, collector_server, jaeger_server, livekit_server
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.processes import ServerError, running
from firstword.rehearsal.servers import JAEGER, LIVEKIT, Progress, find

_ANSWERS_S: Final = 2.0


class NotUsable(ServerError):
    """Raised where a server that should run already does not answer, or refuses the key."""


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


@dataclass(frozen=True, slots=True)
class Keys:
    """LiveKit's API key and its secret."""

    key: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Returns a key that nobody has had before."""
        return cls(f"API{secrets.token_hex(6)}", secrets.token_urlsafe(32))


def stack_at(ports: Ports, keys: Keys, *, jaeger_http: int | None, jaeger_page: bool = False) -> Stack:
    """Returns the addresses of a stack that this process runs on `ports`.

    jaeger_http: the port of Jaeger's query API; None where neither Jaeger nor a collector runs.
    """
    traced = jaeger_http is not None
    return Stack(
        livekit_url=f"ws://{HOST}:{ports.livekit}",
        api_key=keys.key,
        api_secret=keys.secret,
        pid=os.getpid(),
        otlp_endpoint=f"http://{HOST}:{ports.otlp_grpc}" if traced else None,
        otlp_http_endpoint=f"http://{HOST}:{ports.otlp_http}" if traced else None,
        metrics_url=f"http://{HOST}:{ports.metrics}/metrics" if traced else None,
        jaeger_url=f"http://{HOST}:{jaeger_http}" if traced else None,
        jaeger_page=jaeger_page,
    )


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
    page = jaeger_program is not None and jaeger_program.origin != "built"
    stack = stack_at(ports, Keys.new(), jaeger_http=ports.jaeger_http if jaeger else None, jaeger_page=page)
    async with contextlib.AsyncExitStack() as servers:
        if jaeger_program is not None:
            await servers.enter_async_context(running(jaeger_server(jaeger_program, folder, ports, variables)))
            collector = collector_server(jaeger_program, folder, ports, variables, jaeger_otlp=ports.jaeger_otlp)
            await servers.enter_async_context(running(collector))
        livekit = livekit_server(livekit_program, folder, ports, {stack.api_key: stack.api_secret})
        await servers.enter_async_context(running(livekit))
        yield stack


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
    write_private(file, asdict(stack))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _state_file() -> Path:
    return folders.cache_folder() / "stack.json"
