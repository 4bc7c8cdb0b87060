"""Starts and ends the servers that run as our children, so that none outlives the command, and finds them free ports.

Each child leads a process group of its own: Ctrl-C reaches us, and we end the children in order. If we are killed, Linux
kills them in our place (`PR_SET_PDEATHSIG`), also when the thread ends that started them: start them from the main one.
macOS has no such signal: SIGKILL leaves them behind there.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

_STOP_S = 2.0  # after each of two SIGTERMs; then SIGKILL
_PROBE_EVERY_S = 0.05
_LAST_LINES = 10

# Runs in the child between fork and the server: a `preexec_fn` would run our own threads' locks (gRPC's) in a fork.
_END_WITH_PARENT = """
import ctypes, os, pwd, signal, sys
if sys.argv[3]:
    user = pwd.getpwnam(sys.argv[3])
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.Signals[sys.argv[1]].value)
if os.getppid() == int(sys.argv[2]):
    os.execvp(sys.argv[4], sys.argv[4:])
"""


class ServerError(Exception):
    """Raised where a local server can't be had; the message is one to show as it is.

    ServerError
    ├─ PortTaken      the port it should listen on is somebody else's
    ├─ ServerFailed   it ended, or was not ready in time
    ├─ NotUsable      one that should run already does not answer, or refuses the key (stack.py)
    └─ NoServer       it is neither installed nor can it be built (servers.py)
    """


class PortTaken(ServerError):
    """Raised where the port that a server should listen on is somebody else's."""


class ServerFailed(ServerError):
    """Raised where a server ended, or was not ready in time."""


@dataclass(frozen=True, slots=True)
class Child:
    """A server to run as our child: `command`, with `environment` on top of ours unless not `inherit`, its output
    appended to `log`.

    It is ready when a GET of `ready_url` answers with `ready_status` or, without one, when its first TCP port takes a
    connection. It has `ready_s` seconds for that, by default more than any takes on a busy machine. The ports are those
    it listens on. `end_with_parent` is the signal it gets when we are killed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    ready_url: str | None = None
    ready_status: int = 200
    ready_s: float = 120.0
    tcp_ports: Sequence[int] = ()
    udp_ports: Sequence[int] = ()
    inherit: bool = True
    end_with_parent: signal.Signals = signal.SIGKILL


@contextlib.asynccontextmanager
async def running(child: Child) -> AsyncGenerator[Process]:
    """Runs the server `child`, ready on entry and gone on exit.

    Raises PortTaken, or ServerFailed with the last lines of its log when it ends before it is ready or while in use.
    """
    for port in child.tcp_ports:
        require_free(port, socket.SOCK_STREAM, child.name)
    for port in child.udp_ports:
        require_free(port, socket.SOCK_DGRAM, child.name)
    with child.log.open("ab") as log:
        async with started(
            child.command,
            child.environment,
            inherit=child.inherit,
            output=log.fileno(),
            end_with_parent=child.end_with_parent,
        ) as process:
            await _until_ready(child, process)
            yield process
            if process.returncode is not None:
                raise ServerFailed(_last_words(child, f"ended while in use (exit code {process.returncode})"))


@contextlib.asynccontextmanager
async def started(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    inherit: bool = True,
    output: int = asyncio.subprocess.PIPE,
    folder: Path | None = None,
    user: str = "",
    end_with_parent: signal.Signals = signal.SIGKILL,
) -> AsyncGenerator[Process]:
    """Starts `command` in `folder`, with `environment` on top of ours or, without `inherit`, with it alone.

    As root it can be started as another `user`.

    Gives the process. On exit it has ended, its process group with it.
    """
    guard = (sys.executable, "-I", "-S", "-c", _END_WITH_PARENT, end_with_parent.name, str(os.getpid()), user)
    process = await asyncio.create_subprocess_exec(
        *guard,
        *command,
        env={**os.environ, **environment} if inherit else dict(environment),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        process_group=0,
    )
    try:
        yield process
    finally:
        await _stop(process)


async def _until_ready(child: Child, process: Process) -> None:
    """Returns when the server answers as it should; raises ServerFailed when the process ends or the time is up."""
    try:
        async with asyncio.timeout(child.ready_s), aiohttp.ClientSession() as http:
            while process.returncode is None:
                if await _answers(child, http):
                    return
                await asyncio.sleep(_PROBE_EVERY_S)
    except TimeoutError:
        raise ServerFailed(_last_words(child, f"was not ready within {child.ready_s:g} s")) from None
    raise ServerFailed(_last_words(child, f"ended before it was ready (exit code {process.returncode})"))


async def _answers(child: Child, http: aiohttp.ClientSession) -> bool:
    if child.ready_url is None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", child.tcp_ports[0])
            writer.close()
            return True
        return False
    with contextlib.suppress(aiohttp.ClientError):
        async with http.get(child.ready_url) as answer:
            return answer.status == child.ready_status
    return False


async def _stop(process: Process) -> None:
    """Ends the process and all of its group; LiveKit waits for its participants at one SIGTERM and leaves at the second."""
    try:
        for number in (signal.SIGTERM, signal.SIGTERM):
            _signal_group(process, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_S)
                break
    finally:
        _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group that has ended
        os.killpg(process.pid, number)


def _last_words(child: Child, what: str) -> str:
    lines = child.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    return "\n  ".join((f"{child.name} {what}; {child.log} ends with:", *(lines or ("(nothing)",))))


def free_ports(count: int) -> list[int]:
    """Returns `count` different ports of 127.0.0.1, each free for TCP and UDP. The kernel gives them to nobody else for a minute."""
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            stream = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            stream.bind(("127.0.0.1", 0))
            datagram = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                datagram.bind(stream.getsockname())
            except OSError:
                continue
            _reserve(stream)
            ports.append(stream.getsockname()[1])
        return ports


def _reserve(stream: socket.socket) -> None:
    """Leaves a connection of this bound socket in TIME_WAIT: who wants its port then must name it and say SO_REUSEADDR, as servers do."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stream.listen(1)
    with socket.create_connection(stream.getsockname()):
        accepted, _ = stream.accept()
        accepted.close()  # who closes first waits: the side that has the port


def require_free(port: int, kind: socket.SocketKind, wanted_by: str) -> None:
    """Raises PortTaken unless 127.0.0.1:`port` is free for `kind`; the message names who has it, as far as the system tells."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:  # as servers do: a connection that lingers does not hold a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"port {port}, which {wanted_by} needs, is taken{_by_whom(port, kind)} ({error.strerror})"
            raise PortTaken(message) from None


def _by_whom(port: int, kind: socket.SocketKind) -> str:
    """` by NAME (pid N)`, or nothing where the system doesn't say: another user's process, or macOS without root."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("inet"):
            if connection.laddr and connection.laddr.port == port and connection.type == kind and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""
