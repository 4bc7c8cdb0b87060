"""The chart's worker where less is there than usual: it works, or says in one line why not. Each has its row in docs/production.md.

Wants root, for users, mounts and networks of a container. No image is built: this machine's files stand in its places.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from firstword.rehearsal.processes import started
from tests.agent.metrics_receiver import metrics_receiver
from tests.calls.waiting import PATIENCE
from tests.calls.workers import CallServers, call_servers
from tests.deploy import pods
from tests.deploy.called import call, manifests_for, worker_container, worker_pod
from tests.deploy.container_root import ContainerRoot
from tests.deploy.containers import Container
from tests.deploy.rendered import DEPLOY

pytestmark = [
    pytest.mark.soak,
    pytest.mark.real,
    pytest.mark.deploy,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="expected to be root: users, mounts and networks are made"),
]

ROOT = DEPLOY.parent
STATE, TEMPORARY = "/var/lib/firstword", "/tmp"
"""The volumes that a pod may write to."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[CallServers]:
    async with call_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@dataclass(frozen=True)
class Pod:
    """The chart's pod for one test: its agent's name, its worker, and where its files are."""

    name: str
    worker: Container
    root: ContainerRoot


async def pod_for(servers: CallServers, folder: Path, **changes: Any) -> Pod:
    """One with the chart's user, a read-only root and empty volumes; `changes` as for ContainerRoot."""
    name, manifests = await manifests_for(servers)
    pod = worker_pod(manifests)
    context = pod["securityContext"]
    root = folder / "root"
    root.mkdir(parents=True)
    usual: dict[str, Any] = {
        "folder": root,
        "user": f"{context['runAsUser']}:{context['runAsGroup']}",
        "volumes": pods.mounts(pod, manifests, folder / "volumes"),
    }
    return Pod(name, worker_container(servers, pod), ContainerRoot(**{**usual, **changes}))


async def greeted(servers: CallServers, folder: Path, **changes: Any) -> str:
    """What such a pod's worker logs, whose caller was greeted, and which ended well."""
    pod = await pod_for(servers, folder, **changes)
    return await call(servers, pod.name, pod.worker, folder, within=pod.root.within())


def said(pod: Pod, *command: str) -> str:
    """What a command says where the worker runs."""
    within = (*pod.root.within(), *command)
    return subprocess.run(within, env=pod.worker.environment, capture_output=True, text=True).stdout


async def test_a_user_whom_nobody_knows(servers: CallServers, tmp_path: Path) -> None:
    """As OpenShift chooses one: no name, no home, and of group 0."""
    pod = await pod_for(servers, tmp_path, user="1000650000:0")
    assert said(pod, "sh", "-c", "id -u; whoami 2> /dev/null; echo $HOME") == "1000650000\n\n"
    await call(servers, pod.name, pod.worker, tmp_path, within=pod.root.within())


async def test_a_read_only_root(servers: CallServers, tmp_path: Path) -> None:
    """Nothing can be written to but its two volumes; even root could not."""
    pod = await pod_for(servers, tmp_path, user="0:0")
    tried = "for each in / /app /opt/firstword /var /usr /etc /dev; do touch $each/x 2> /dev/null && echo $each; done"
    assert said(pod, "sh", "-c", tried) == "/dev\n", "expected /dev alone, which is memory"
    log = await greeted(servers, tmp_path / "chart")
    assert "Read-only file system" not in log


async def test_no_home_folder(servers: CallServers, tmp_path: Path) -> None:
    """Nor the folders that the image names for caches and accounts: they lie among the temporary files, and a line says so."""
    pod = await pod_for(servers, tmp_path)
    named = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "HOME")
    variables = {name: value for name, value in pod.worker.environment.items() if name not in named}
    worker = replace(pod.worker, environment=variables)
    log = await call(servers, pod.name, worker, tmp_path, within=pod.root.within())
    why = "since this user has no home folder"
    for what in ("caches", "accounts"):
        assert f"{what} are kept in /tmp/firstword-10001, {why}" in log


async def test_no_shared_memory(servers: CallServers, tmp_path: Path) -> None:
    """A container without /dev/shm."""
    pod = await pod_for(servers, tmp_path, shared_memory=False)
    assert said(pod, "ls", "/dev/shm") == ""
    await call(servers, pod.name, pod.worker, tmp_path, within=pod.root.within())


@contextmanager
def half_a_cpu() -> Generator[Path]:
    """A control group whose processes get 50 ms of each 100 ms, of one CPU."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    group = Path("/sys/fs/cgroup", "" if unified else "cpu", f"firstword-{secrets.token_hex(4)}")
    group.mkdir()
    try:
        if unified:
            (group / "cpu.max").write_text("50000 100000")
        else:
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text("50000")
        yield group
    finally:
        deadline = time.monotonic() + PATIENCE
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        group.rmdir()


async def test_half_a_cpu(servers: CallServers, tmp_path: Path) -> None:
    """It is late to be ready, and its caller is greeted late."""
    pod = await pod_for(servers, tmp_path)
    with half_a_cpu() as group:
        into = ("/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "half a CPU")
        await call(servers, pod.name, pod.worker, tmp_path, within=(*into, *pod.root.within()))
        (throttled,) = re.findall(r"^nr_throttled (\d+)$", (group / "cpu.stat").read_text(), re.M)
        assert int(throttled) > 0, "expected a worker that wants more than half a CPU"


async def test_a_full_disk_below_its_caches(servers: CallServers, tmp_path: Path) -> None:
    """Accounts and greetings can't be kept: callers are greeted all the same. A line says what calls do without, and a metric."""
    pod = await pod_for(servers, tmp_path, full=frozenset({STATE}))
    async with metrics_receiver() as metrics:
        worker = replace(pod.worker, environment={**pod.worker.environment, **metrics.environment})
        log = await call(servers, pod.name, worker, tmp_path, within=pod.root.within())
        assert metrics.value("firstword.helper.failures", helper="audio cache", reason="full"), metrics.values
        assert metrics.value("firstword.worker.draining") == 1
    assert "sessions go on without the audio cache" in log


async def test_a_full_disk_below_its_temporary_files(servers: CallServers, tmp_path: Path) -> None:
    """It says so and ends with 1, before it is ready: no job could be served."""
    pod = await pod_for(servers, tmp_path, full=frozenset({TEMPORARY}))
    log = tmp_path / "worker.log"
    async with pod.worker.running(log, within=pod.root.within()) as process, asyncio.timeout(PATIENCE):
        while process.returncode is None:
            assert not await pod.worker.passes("readiness")
            await asyncio.sleep(0.1)
    assert process.returncode == 1
    text = log.read_text()
    assert text.splitlines()[-1].startswith("no folder for temporary files can be written to")
    assert "Traceback" not in text


async def test_ipv6_alone(tmp_path: Path) -> None:
    """In a network that has ::1 and nothing else: registration, greetings, probes and drain. Nobody calls."""
    command = (sys.executable, "-m", "tests.deploy.ipv6_worker", str(tmp_path))
    alone = 'ip link set lo up && ip -4 address flush dev lo && exec "$@"'
    within = ("/usr/bin/unshare", "--net", "/bin/sh", "-c", alone, "IPv6 alone")
    log = tmp_path / "call.log"
    with log.open("wb") as output:
        run = started((*within, *command), {}, output=output.fileno(), folder=ROOT)
        async with run as process, asyncio.timeout(4 * PATIENCE):
            assert await process.wait() == 0, log.read_text()[-3000:]
