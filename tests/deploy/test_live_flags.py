"""Live flags outlive what Helm does: Helm itself, against an API server of ours. It was not run on a cluster (docs/upgrade.md)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from firstword.agent.flags.flag_file import parse
from firstword.agent.flags.improvements import DRAWN
from firstword.agent.flags.writer import Move
from firstword.command.tuner.api_server import ApiServer
from firstword.command.tuner.config_map import KEY, ConfigMapStore
from firstword.rehearsal.servers import HELM
from tests.command.api_server import service_account
from tests.deploy.helm_cluster import HelmCluster, serving_helm
from tests.deploy.rendered import CHART, DEPLOY, of_kind, render, template, tool

pytestmark = pytest.mark.deploy

NAME = "agents-firstword-flags"
FLAGS = f"/api/v1/namespaces/voice/configmaps/{NAME}"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/voice/leases/{NAME}"
VALUES = {
    "livekit": {"url": "wss://livekit.example.com"},
    "telemetry": {"endpoint": "http://collector:4317"},
    "flags": {"enabled": True},
    "tuner": {"enabled": True, "jaeger": "http://jaeger:16686"},
}
GOOD = "deferred-setup"


class Release:
    """The chart, as one person installs and changes it."""

    def __init__(self, cluster: HelmCluster, url: str, folder: Path) -> None:
        self.cluster = cluster
        self.url = url
        self._values = folder / "values.json"
        self._values.write_text(json.dumps(VALUES))
        self._environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}

    def helm(self, verb: str, *options: str) -> None:
        """Runs it. AssertionError with its words where it fails."""
        command = (tool(HELM), verb, "agents", *options, "--namespace", "voice", "--kube-apiserver", self.url)
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    def install(self) -> None:
        self.helm("install", str(CHART), "--values", str(self._values), "--disable-openapi-validation")

    def upgrade(self, tag: str) -> None:
        """To another image."""
        options = ("--values", str(self._values), "--disable-openapi-validation")
        self.helm("upgrade", str(CHART), *options, "--set", f"image.tag={tag}")

    @property
    def percent(self) -> int | None:
        """The share of `GOOD`, as workers have it."""
        return parse(self.cluster.objects[FLAGS]["data"][KEY].encode(), DRAWN).flags[GOOD].percent

    @property
    def images(self) -> set[str]:
        """That the pods of all Deployments run."""
        deployments = [each for path, each in self.cluster.objects.items() if "/deployments/" in path]
        return {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in deployments}


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    cluster = HelmCluster()
    with serving_helm(cluster) as url:
        yield Release(cluster, url, tmp_path)


def test_no_upgrade_rollback_or_uninstall_resets_live_flags(release: Release, tmp_path: Path) -> None:
    """The tuner writes between them, by its own store: what it wrote stays, with its history, and its Lease is kept."""
    release.install()
    assert release.percent == 100
    store = ConfigMapStore(ApiServer(release.url, service_account(tmp_path / "account")), NAME)
    assert store.lease.hold() is None
    holder = release.cluster.objects[LEASE]["spec"]["holderIdentity"]
    for percent, change in (
        (0, lambda: release.upgrade("0.2.0")),
        (5, lambda: release.upgrade("0.3.0")),
        (25, lambda: release.helm("rollback")),
        (50, lambda: release.helm("rollback", "1")),
    ):
        store.read()
        store.write([Move(GOOD, percent, "why", 1.795e9)], [])
        written = release.cluster.objects[FLAGS]
        change()
        assert release.cluster.objects[FLAGS] == written
        assert release.percent == percent
        assert release.cluster.objects[LEASE]["spec"]["holderIdentity"] == holder
    assert release.images == {"firstword:0.1.0"}  # the first revision's: it was a rollback indeed
    release.helm("uninstall")
    assert set(release.cluster.objects) == {FLAGS}
    release.install()
    assert release.percent == 50


def test_flags_that_are_gone_are_made_anew(release: Release) -> None:
    """Somebody deleted them, or turned `flags.enabled` on later: the next upgrade makes the shipped ones."""
    release.install()
    del release.cluster.objects[FLAGS]
    release.upgrade("0.2.0")
    assert release.cluster.objects[FLAGS]["data"][KEY] == (DEPLOY / "flags.json").read_text()


def test_the_flags_are_no_part_of_the_release() -> None:
    """What renders without the cluster can't see that they are there: it must leave them to Helm's hooks, and Argo CD to nobody."""
    (flags,) = of_kind("ConfigMap", render({"flags": {"enabled": True}}))
    assert flags["metadata"]["annotations"] == {
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-delete-policy": "hook-failed",
        "argocd.argoproj.io/hook": "Skip",
    }
    values = json.dumps({**VALUES, "tuner": {"enabled": False}})
    assert "kind: ConfigMap" in template([], values)
    assert "kind: ConfigMap" not in template(["--no-hooks"], values)
