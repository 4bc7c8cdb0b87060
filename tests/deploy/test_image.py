"""The image, built by buildah on a base made here: no registry is in reach, so Debian stands in under the base's name.

Elsewhere `docker build` pulls the real one. The three lines of an agent of one's own are built on top of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.calls.workers import call_servers
from tests.deploy import pods
from tests.deploy.called import call, manifests_for, worker_container, worker_pod
from tests.deploy.container_root import ContainerRoot
from tests.deploy.rendered import DEPLOY

pytestmark = [pytest.mark.soak, pytest.mark.real, pytest.mark.deploy, pytest.mark.timeout(3600)]

ROOT = DEPLOY.parent
IMAGE = "firstword:0.1.0"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"


class Buildah:
    """buildah with storage of its own, as root and without a daemon."""

    def __init__(self, folder: Path) -> None:
        self._storage = ("--storage-driver", "vfs", "--root", str(folder / "images"), "--runroot", str(folder / "run"))

    def __call__(self, *arguments: str | Path) -> str:
        """Run a command of it; what it printed. AssertionError with the end of what it said when it fails."""
        done = subprocess.run(("buildah", *self._storage, *arguments), capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def config(self, image: str) -> dict[str, Any]:
        """What the image says of itself: user, command, variables, signal."""
        return json.loads(self("inspect", "--type", "image", image))["OCIv1"]["config"]

    def root(self, image: str) -> Path:
        """The folder in which the image's files lie."""
        return Path(self("mount", self("from", "--pull-never", image)))


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """With the base image, the product's, and the one of an agent of one's own."""
    for program in ("buildah", "debootstrap"):
        assert shutil.which(program), f"{program} was not found; expected it on PATH: apt-get install {program}"
    assert os.geteuid() == 0, "expected to be root, as debootstrap and buildah's chroot want it"
    folder = tmp_path_factory.mktemp("buildah")
    run = Buildah(folder)
    (base,) = re.findall(r"^ARG BASE=(\S+)", (DEPLOY / "Dockerfile").read_text(), re.M)
    system = folder / "system"
    debian = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(system), *_mirror())
    subprocess.run(debian, check=True, stdout=subprocess.DEVNULL)
    (system / "usr/bin/python").symlink_to("python3")
    next(system.glob("usr/lib/python3.*/EXTERNALLY-MANAGED")).unlink()
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", system / "etc/ssl/certs")  # those of this machine's index
    container = run("from", "scratch")
    run("add", container, system, "/")
    run("commit", container, f"docker.io/library/{base}")
    secret = folder / "pip.conf"
    secret.write_text(_pip_settings())
    build = ("build", "--isolation", "chroot", "--pull-never", "--network", "host")
    run(*build, "--secret", f"id=pip,src={secret}", "-f", DEPLOY / "Dockerfile", "-t", IMAGE, ROOT)
    own = folder / "own"
    own.mkdir()
    shutil.copy(ROOT / "examples" / "quickstart.py", own / "my_agent.py")
    run(*build, "-f", DEPLOY / "Dockerfile.agent", "-t", "my-agent:1", own)
    yield run
    run("rm", "--all")


def test_the_image_says_how_it_runs_and_ends(buildah: Buildah) -> None:
    """As a user without a name, by a command that is no shell's, and at a signal that a worker drains at."""
    config = buildah.config(IMAGE)
    assert config["User"] == "10001:0"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Cmd"] == ["python", "-P", "-m", "livekit.agents", "start", "worker.py"]
    own = buildah.config("my-agent:1")
    assert own["Cmd"][-1] == "my_agent.py"
    assert own["User"] == config["User"]


def test_nothing_is_in_it_that_does_not_run(buildah: Buildah, capsys: pytest.CaptureFixture[str]) -> None:
    """No compiler, no pip beside our packages, no index of anybody's; all code compiled. Prints the size by part."""
    root = buildah.root(IMAGE)
    ours = root / "opt" / "firstword"
    assert not [name for name in ("gcc", "cc", "g++", "make") if (root / "usr/bin" / name).exists()]
    assert not list(ours.glob("lib/python3.*/site-packages/pip"))
    assert not (root / "etc/pip.conf").exists()
    (packages,) = ours.glob("lib/python3.*/site-packages")
    for source in [*packages.glob("firstword/**/*.py"), *packages.glob("livekit/agents/**/*.py")]:
        assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")), f"{source} is not compiled"
    sizes = {part.name: _megabytes(part) for part in packages.iterdir() if part.is_dir()}
    largest = sorted(sizes.items(), key=lambda part: -part[1])[:10]
    with capsys.disabled():
        lines = [
            f"base {_megabytes(root) - _megabytes(ours):.0f} MB, /opt/firstword {_megabytes(ours):.0f} MB, of which"
        ]
        sys.stdout.write("\n  ".join(["", *lines, *(f"{name} {size:.0f} MB" for name, size in largest)]) + "\n")


def test_what_is_missing_is_one_line(buildah: Buildah) -> None:
    """The image's own command as its own user, without a key: what the operator sees in the log."""
    root = buildah.root(IMAGE)
    config = buildah.config(IMAGE)
    enter = (
        "chroot",
        f"--userspec={config['User']}",
        str(root),
        "env",
        "-i",
        "-C",
        config["WorkingDir"],
        *config["Env"],
    )
    done = subprocess.run((*enter, *config["Cmd"]), capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "LIVEKIT_URL" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_caller_of_the_chart_is_greeted_from_the_image(buildah: Buildah, tmp_path: Path) -> None:
    """As the pod says: its user and group, a read-only root, and nothing to write to but its volumes, each in memory here."""
    root = buildah.root(IMAGE)
    async with call_servers(tmp_path / "servers") as servers:
        name, manifests = await manifests_for(servers)
        pod = worker_pod(manifests)
        user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
        volumes = pods.mounts(pod, manifests, tmp_path / "volumes")
        within = ContainerRoot(root, user, volumes, built=True).within()
        await call(servers, name, worker_container(servers, pod), tmp_path, within=within)


def _mirror() -> tuple[str, ...]:
    """The mirror that this machine's apt uses; nothing for debootstrap's own."""
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    found = re.findall(r"^URIs: (\S+)", sources.read_text(), re.M) if sources.exists() else []
    return tuple(found[:1])


def _pip_settings() -> str:
    """What this machine's pip is set to, as a file: where its index is, and whom it trusts."""
    listed = subprocess.run((sys.executable, "-m", "pip", "config", "list"), capture_output=True, text=True, check=True)
    wanted = ("index-url", "extra-index-url", "trusted-host", "cert", "proxy")
    found = dict(re.findall(r"^[\w:]+?\.+([\w-]+)='(.*)'$", listed.stdout, re.M))  # a file's and the environment's
    return "[global]\n" + "".join(f"{name} = {found[name]}\n" for name in wanted if name in found)


def _megabytes(folder: Path) -> float:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_symlink() and file.is_file()) / 1e6
