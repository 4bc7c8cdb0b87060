"""`deploy/compose.yaml` without Docker: it is valid, open on this machine alone, and its parts name each other's addresses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from firstword.agent.flags.flag_file import read
from firstword.agent.flags.improvements import DRAWN, SUBJECTS
from firstword.agent.flags.writer import FlagFileWriter, Move
from firstword.rehearsal.servers import JAEGER, LIVEKIT
from tests.deploy.rendered import DEPLOY, compose

pytestmark = pytest.mark.deploy

PASSWORDS = {"LIVEKIT_API_SECRET": "s" * 32, "POSTGRES_PASSWORD": "p" * 32, "GRAFANA_PASSWORD": "g" * 32}
GOOD = "deferred-setup"
OURS = ("worker", "rescue", "providers")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return compose(PASSWORDS)["services"]


@pytest.mark.parametrize("missing", PASSWORDS)
def test_a_password_has_no_default(missing: str) -> None:
    """A sentence says where it is expected."""
    with pytest.raises(KeyError, match=f"{missing}: expected .*deploy/.env"):
        compose({name: value for name, value in PASSWORDS.items() if name != missing})


def test_no_port_is_open_to_other_machines(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", name
        assert service.get("network_mode", "host") == "host"
    livekit = yaml.safe_load(services["livekit"]["environment"]["LIVEKIT_CONFIG"])
    assert livekit["bind_addresses"] == ["127.0.0.1"]
    assert livekit["rtc"]["tcp_port"] == 0, "LiveKit opens it on all interfaces, whatever it is told"
    assert livekit["rtc"]["ips"] == {"includes": ["127.0.0.0/8"]}


def test_the_worker_reaches_each_helper_where_it_is_published(services: dict[str, dict[str, Any]]) -> None:
    """It shares the host's network, so each address of its is a port of 127.0.0.1 that a service has there."""
    published = {int(port["published"]) for each in services.values() for port in each.get("ports", ())}
    livekit = yaml.safe_load(services["livekit"]["environment"]["LIVEKIT_CONFIG"])
    on_host = {livekit["port"], int(services["providers"]["command"][-1])}
    usual = {"redis": 6379, "postgresql": 5432}
    variables: dict[str, str] = services["worker"]["environment"]
    addresses = {name: urlsplit(variables[name]) for name in variables if name.endswith(("_URL", "_ENDPOINT"))}
    assert len(addresses) == 6
    for name, address in addresses.items():
        assert address.hostname == "127.0.0.1", name
        assert (address.port or usual[address.scheme]) in published | on_host, name


def test_the_rescuer_watches_the_server_of_the_workers(services: dict[str, dict[str, Any]]) -> None:
    """With the same key, and no other secret."""
    rescue, worker = (services[name]["environment"] for name in ("rescue", "worker"))
    assert rescue.items() <= worker.items()
    assert {name for name in rescue if name.endswith(("_KEY", "_SECRET"))} == {"LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"}


def test_ours_run_as_in_the_cluster(services: dict[str, dict[str, Any]]) -> None:
    """Read-only, without a capability, and with more grace than the drain."""
    for name in OURS:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert "user" not in services[name], "the image says which"
    worker = services["worker"]
    assert worker["stop_grace_period"] == f"{int(worker['environment']['FIRSTWORD_DRAIN']) + 30}s"


def test_the_tuner_writes_the_file_that_the_worker_follows(services: dict[str, dict[str, Any]]) -> None:
    """With the second file on top: the worker may not write it, and all else is as it was."""
    both = compose(PASSWORDS, "compose-tuner.yaml")["services"]
    worker, tuner = both["worker"], both["tuner"]
    file = Path(worker["environment"]["FLAGD_OFFLINE_FLAG_SOURCE_PATH"])
    assert set(re.findall(r"--flags (\S+)", tuner["command"][-1])) == {str(file)}
    mounted = [{each["target"]: each for each in service["volumes"]}[str(file.parent)] for service in (worker, tuner)]
    assert [(each["source"], each.get("read_only", False)) for each in mounted] == [("flags", True), ("flags", False)]
    assert f"mkdir -p /var/lib/firstword {file.parent} " in (DEPLOY / "Dockerfile").read_text(), "else it is root's"
    assert services["jaeger"]["ports"][0]["published"] in tuner["command"][-1]
    for key in ("read_only", "cap_drop", "security_opt", "network_mode", "init", "image", "restart"):
        assert tuner[key] == services["worker"][key]
    del both["tuner"]
    for key in ("environment", "volumes"):
        worker[key] = services["worker"][key]
    assert both == services


def test_the_tuner_makes_the_file_where_there_is_none(tmp_path: Path) -> None:
    """The very first line of its container, on a folder of ours: all off. Where there is a file it stays."""
    command = compose(PASSWORDS, "compose-tuner.yaml")["services"]["tuner"]["command"]
    first, last = command[-1].strip().splitlines()
    assert last.startswith("exec firstword tune --watch ")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    file = tmp_path / "flags.json"
    for on in ({}, {GOOD: 5}):
        line = first.replace("/flags/", f"{tmp_path}/")
        subprocess.run([*command[:-1], line], env=environment, check=True, timeout=120)
        flags = read(file, DRAWN).flags
        assert flags.keys() >= SUBJECTS.keys()
        assert {name: flag.percent for name, flag in flags.items() if flag.percent} == on
        FlagFileWriter(file, DRAWN).write([Move(GOOD, 5, "why", 1.795e9)])


def test_images_have_versions_and_files_are_there(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert ":" in service["image"]
        assert not service["image"].endswith(":latest")
    assert services["livekit"]["image"] == LIVEKIT.image
    assert services["jaeger"]["image"] == JAEGER.image
    mounted = {
        Path(volume["source"])
        for each in services.values()
        for volume in each.get("volumes", ())
        if volume["type"] == "bind"
    }
    assert all(path.exists() for path in mounted)
