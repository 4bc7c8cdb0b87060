"""The local stack with its real servers: up, used, gone, and what is said when one of them can't run."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import astuple, replace
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from livekit import api, rtc

from firstword.rehearsal.ports import Ports
from firstword.rehearsal.processes import Child, PortTaken, ServerFailed, free_ports, running
from firstword.rehearsal.stack import LocalStack, NotUsable, Stack, published, require_livekit, running_stack

WAIT_S = 120.0


# One child process


async def test_a_server_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    """The error has its name, its exit code and the last lines of its log, not all of them."""
    child = shell(tmp_path, "for n in 1 2 3 4 5 6 7 8 9 10 11; do echo line $n; done; exit 3")
    with pytest.raises(ServerFailed) as caught:
        async with running(child):
            pass
    assert str(caught.value).splitlines() == [
        f"server ended before it was ready (exit code 3); {child.log} ends with:",
        *(f"  line {n}" for n in range(2, 12)),
    ]


async def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path: Path) -> None:
    """After `ready_s`; one that ignores SIGTERM goes by SIGKILL, and so do its own children."""
    child = replace(shell(tmp_path, "trap '' TERM; sleep 600 & echo $$ $!; wait; wait"), ready_s=2.0)
    with pytest.raises(ServerFailed, match=r"server was not ready within 2 s"):
        async with running(child):
            pass
    await gone(int(pid) for pid in child.log.read_text().split())


async def test_a_server_without_an_address_to_ask_is_ready_when_it_takes_a_connection(tmp_path: Path) -> None:
    """On the first of its ports, such as Redis."""
    port = free_ports(1)[0]
    async with running(Child("server", web(port), {}, tmp_path / "log", tcp_ports=(port,))):
        socket.create_connection(("127.0.0.1", port)).close()


async def test_a_server_that_ends_while_in_use_is_an_error(tmp_path: Path) -> None:
    """Also when the block went well: its results are not to be trusted."""
    port = free_ports(1)[0]
    child = Child("server", web(port), {}, tmp_path / "log", f"http://127.0.0.1:{port}/")
    with pytest.raises(ServerFailed, match=r"server ended while in use \(exit code -9\)"):
        async with running(child) as process:
            await killed(process)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_a_taken_port_is_said_with_who_has_it(tmp_path: Path, kind: socket.SocketKind) -> None:
    """Before anything starts: the port, the server that wants it, the process that has it by name and id."""
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        child = shell(tmp_path, "exit 0")
        child = replace(child, **{"tcp_ports" if kind is socket.SOCK_STREAM else "udp_ports": (port,)})
        owner = f"{psutil.Process().name()} (pid {os.getpid()})"
        with pytest.raises(PortTaken) as caught:
            async with running(child):
                pass
        assert f"port {port}, which server needs, is taken by {owner}" in str(caught.value)
        assert not child.log.exists()


def test_free_ports_are_different_and_can_be_bound() -> None:
    """By TCP and by UDP, as servers bind them; meanwhile nobody gets one who asks the kernel for any."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert not set(ports) & set(free_ports(200))
    for port in ports:
        with socket.create_server(("127.0.0.1", port)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", port))


def test_a_taken_port_is_named_and_another_one_used() -> None:
    """Each that is free stays as it is; for the others a sentence names both ports and the server, nothing raises."""
    wanted = Ports.free()  # of the usual ones, another test or program may have any
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as media,
        socket.create_server(("127.0.0.1", wanted.jaeger_http)),
    ):
        media.bind(("127.0.0.1", wanted.livekit_udp))
        said: list[str] = []
        ports = wanted.free_where_taken(said.append)
    assert ports.livekit_udp != wanted.livekit_udp
    assert ports.jaeger_http != wanted.jaeger_http
    media_said, query_said = (line for line in said if "livekit_udp" in line or "jaeger_http" in line)
    assert media_said.startswith(f"port {wanted.livekit_udp}, which livekit_udp needs, is taken")
    assert media_said.endswith(f"; {ports.livekit_udp} is used instead")
    assert query_said.startswith(f"port {wanted.jaeger_http}, which jaeger_http needs, is taken")
    kept = sum(own == default for own, default in zip(astuple(ports), astuple(wanted), strict=True))
    assert kept == len(astuple(ports)) - len(said)


# The stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    """LiveKit, collector and Jaeger, started where variables lie about that each of them would obey."""
    with pytest.MonkeyPatch.context() as shell:
        shell.setenv("LIVEKIT_CONFIG", "port: 1")
        shell.setenv("NODE_IP", "192.0.2.1")
        shell.setenv("COLLECTOR_OTLP_HTTP", "192.0.2.1:1")
        async with LocalStack(tmp_path_factory.mktemp("stack"), jaeger=True) as stack:
            yield stack


@pytest.mark.jaeger
@pytest.mark.asyncio(loop_scope="module")
async def test_two_parties_hear_each_other_over_loopback(stack: Stack) -> None:
    """The key opens the server's API, and a track published in a room is subscribed by the other party."""
    speaker, listener, subscribed = rtc.Room(), rtc.Room(), asyncio.Event()
    listener.on("track_subscribed", lambda *_: subscribed.set())  # pyright: ignore[reportUnknownLambdaType]
    try:
        await listener.connect(stack.livekit_url, token(stack, "listener"))
        await speaker.connect(stack.livekit_url, token(stack, "speaker"))
        track = rtc.LocalAudioTrack.create_audio_track("voice", rtc.AudioSource(48000, 1))
        await speaker.local_participant.publish_track(track)
        async with asyncio.timeout(WAIT_S):
            await subscribed.wait()
        async with api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as livekit:
            rooms = await livekit.room.list_rooms(api.ListRoomsRequest())
        assert [room.name for room in rooms.rooms] == ["room"]
    finally:
        await speaker.disconnect()
        await listener.disconnect()


@pytest.mark.jaeger
@pytest.mark.asyncio(loop_scope="module")
async def test_everything_listens_on_loopback_alone(stack: Stack) -> None:
    """A rehearsal is no service for the network it runs in."""
    children = psutil.Process(stack.pid).children()
    addresses = {
        connection.laddr.ip
        for child in children
        if child.name().startswith(("livekit", "jaeger"))
        for connection in child.net_connections("inet")
        if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    }
    assert addresses == {"127.0.0.1"}


@pytest.mark.jaeger
@pytest.mark.asyncio(loop_scope="module")
async def test_a_published_stack_is_found_and_a_stale_one_is_not(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its file, which is the user's alone, and only if LiveKit takes the key and Jaeger answers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "firstword" / "stack.json"
    assert await running_stack() is None
    with published(stack):
        assert file.stat().st_mode & 0o777 == 0o600
        assert await running_stack() == stack
        for text in ("", "[]", "{}", '{"livekit_url": 1, "pid": 2}', json.dumps({"unknown": "field"})):
            file.write_text(text)
            assert await running_stack() is None
    assert not file.exists()
    for stale in (
        replace(stack, api_secret="a secret that is another stack's, long ago"),
        replace(stack, livekit_url=f"ws://127.0.0.1:{free_ports(1)[0]}"),
        replace(stack, jaeger_url=f"http://127.0.0.1:{free_ports(1)[0]}"),
    ):
        with published(stale):
            assert await running_stack() is None


async def test_a_livekit_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """At once, whether nothing listens there, or something that is not LiveKit."""
    port = free_ports(1)[0]
    stack = Stack(f"ws://127.0.0.1:{port}", "key", "a secret that is long enough for its signature", pid=0)
    with pytest.raises(NotUsable, match=f"nothing answers at {stack.livekit_url} of the shell: .*connect"):
        await require_livekit(stack, f"{stack.livekit_url} of the shell")
    async with running(Child("other", web(port), {}, tmp_path / "log", f"http://127.0.0.1:{port}/")):
        with pytest.raises(NotUsable, match=f"no LiveKit server answers at {stack.livekit_url}"):
            await require_livekit(stack, stack.livekit_url)


@pytest.mark.jaeger
@pytest.mark.asyncio(loop_scope="module")
async def test_a_key_that_livekit_does_not_know_is_told_apart(stack: Stack) -> None:
    """The server is there: it is the key that it refuses, another one or a wrong secret."""
    for wrong in (
        replace(stack, api_key="APIother"),
        replace(stack, api_secret="another, and long enough to sign with"),
    ):
        with pytest.raises(NotUsable, match=f"LiveKit at {stack.livekit_url} refuses the key"):
            await require_livekit(wrong, wrong.livekit_url)


@pytest.mark.jaeger
async def test_nothing_is_left_after_an_exception(tmp_path: Path) -> None:
    """No process and no port; the exception comes through as it is."""
    ports = Ports.free()
    async with nothing_left(ports):
        with pytest.raises(ZeroDivisionError):
            async with LocalStack(tmp_path, jaeger=True, ports=ports):
                raise ZeroDivisionError
    assert {name for name in os.listdir(tmp_path) if name.endswith(".log")} == {
        "livekit-server.log",
        "collector.log",
        "jaeger.log",
    }


@pytest.mark.jaeger
async def test_a_port_taken_later_ends_what_had_started(tmp_path: Path) -> None:
    """Jaeger and collector are up when LiveKit finds its port taken."""
    ports = Ports.free()
    async with nothing_left(ports):
        with (
            socket.create_server(("127.0.0.1", ports.livekit)),
            pytest.raises(PortTaken, match=f"port {ports.livekit}, which livekit-server needs"),
        ):
            async with LocalStack(tmp_path, jaeger=True, ports=ports):
                pass
    assert (tmp_path / "collector.log").exists()


@pytest.mark.jaeger
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_left_when_the_command_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    """By Ctrl-C, by a supervisor, by the kernel."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    ports = Ports(*json.loads(await parent.stdout.readline()))
    children = [child.pid for child in psutil.Process(parent.pid).children()]
    assert len(children) == 3
    async with nothing_left(ports):
        parent.send_signal(number)
        await asyncio.wait_for(parent.wait(), WAIT_S)
        await gone(children)


COMMAND = """
import asyncio, json, sys
from dataclasses import astuple
from pathlib import Path
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.stack import LocalStack

async def main():
    ports = Ports.free()
    async with LocalStack(Path(sys.argv[1]), jaeger=True, ports=ports):
        print(json.dumps(astuple(ports)), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def shell(folder: Path, script: str) -> Child:
    """A child that runs `script` and is never ready."""
    return Child("server", ("/bin/sh", "-c", script), {}, folder / "log", f"http://127.0.0.1:{free_ports(1)[0]}/")


def web(port: int) -> tuple[str, ...]:
    """The command of a server that answers any GET."""
    return (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))


def token(stack: Stack, identity: str) -> str:
    """A participant's token for one room."""
    grants = api.VideoGrants(room_join=True, room="room")
    return api.AccessToken(stack.api_key, stack.api_secret).with_identity(identity).with_grants(grants).to_jwt()


async def gone(pids: Iterable[int]) -> None:
    """Returns when none of the processes is left; TimeoutError if that takes long."""
    left = set(pids)
    assert left
    async with asyncio.timeout(WAIT_S):
        while True:
            left = {
                pid for pid in left if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
            }
            if not left:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def nothing_left(ports: Ports) -> AsyncGenerator[None]:
    """Fails unless, afterwards, no new child of ours is left and, as soon as the kernel is done, each port is free that was."""
    before = set(psutil.Process().children(recursive=True))
    free = [port for port in astuple(ports) if is_free(port)]
    yield
    assert set(psutil.Process().children(recursive=True)) <= before
    async with asyncio.timeout(WAIT_S):
        while not all(map(is_free, free)):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.02)


def is_free(port: int) -> bool:
    """Whether a server can listen there."""
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


async def killed(process: asyncio.subprocess.Process) -> None:
    """Kills the process and waits until it has ended."""
    process.kill()
    await process.wait()
