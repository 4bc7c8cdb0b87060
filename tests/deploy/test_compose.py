"""`deploy/compose.yaml` without Docker: it is valid, open on this machine alone, and its parts name each other's addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from firstword.rehearsal.servers import JAEGER, LIVEKIT
from tests.deploy.rendered import compose

pytestmark = pytest.mark.deploy

PASSWORDS = {"LIVEKIT_API_SECRET": "s" * 32, "POSTGRES_PASSWORD": "p" * 32, "GRAFANA_PASSWORD": "g" * 32}
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
