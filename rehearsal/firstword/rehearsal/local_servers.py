"""What each server of a local run is started with: its command, its configuration and its ports, all on loopback.

stack.py and machines.py run what is described here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firstword.rehearsal.files import data_file, write_private
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.processes import Child
from firstword.rehearsal.servers import Program

HOST: Final = "127.0.0.1"
_PASSED_ON: Final = frozenset({"HOME", "LANG", "PATH", "TMPDIR", "USER", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"})


@dataclass(frozen=True, slots=True)
class PairedCollector:
    """What one of two collectors knows of the pair: it samples the traces whose id begins with one of `first_digits`.

    It hands the others to `peer_port`, where the other collector listens, and listens itself on `port`.
    """

    first_digits: str
    """Characters of a class of a regular expression, such as `0-7`."""
    port: int
    peer_port: int


def livekit_server(
    program: Program, folder: Path, ports: Ports, keys: Mapping[str, str], redis_port: int | None = None
) -> Child:
    """Returns LiveKit's server, with media over loopback alone and through one UDP port.

    keys: secret by API key. redis_port: the Redis that it shares with the other nodes; None for a node by itself.
    """
    configuration = {
        "port": ports.livekit,
        "bind_addresses": [HOST],
        "rtc": {
            "tcp_port": 0,  # none: LiveKit opens it on all interfaces, whatever it is told
            "allow_tcp_fallback": False,
            "udp_port": ports.livekit_udp,
            "node_ip": HOST,
            "use_external_ip": False,
            "enable_loopback_candidate": True,
            "ips": {"includes": ["127.0.0.0/8"]},
        },
        "keys": dict(keys),
        "logging": {"level": "info"},
        **({} if redis_port is None else {"redis": {"address": f"{HOST}:{redis_port}"}}),
    }
    file = folder / "livekit.yaml"
    write_private(file, configuration)
    return Child(
        name="livekit-server",
        command=program.command(("--config", str(file)), folder, {}),
        environment=_environment({}),
        inherit=False,
        log=folder / "livekit-server.log",
        ready_url=f"http://{HOST}:{ports.livekit}/",
        tcp_ports=(ports.livekit,),
        udp_ports=(ports.livekit_udp,),
        end_with_parent=program.end_with_parent,
    )


def jaeger_server(program: Program, folder: Path, ports: Ports, variables: Mapping[str, str]) -> Child:
    """Returns Jaeger as the place where traces are kept and read. `variables` are those of its configuration."""
    environment = {
        "JAEGER_HTTP": f"{HOST}:{ports.jaeger_http}",
        "JAEGER_GRPC": f"{HOST}:{ports.jaeger_grpc}",
        "JAEGER_OTLP": f"{HOST}:{ports.jaeger_otlp}",
        "JAEGER_HEALTH": f"{HOST}:{ports.jaeger_health}",
        "JAEGER_TELEMETRY_HOST": HOST,
        "JAEGER_TELEMETRY_PORT": str(ports.jaeger_telemetry),
        "JAEGER_PROMETHEUS": f"http://{HOST}:{ports.prometheus}",
        **variables,
    }
    listens = (ports.jaeger_http, ports.jaeger_grpc, ports.jaeger_otlp, ports.jaeger_health, ports.jaeger_telemetry)
    return Child(
        name="jaeger",
        command=program.command(_configured("deploy/jaeger.yaml", folder), folder, environment),
        environment=_environment(environment),
        inherit=False,
        log=folder / "jaeger.log",
        ready_url=f"http://{HOST}:{ports.jaeger_health}/status",
        tcp_ports=listens,
        end_with_parent=program.end_with_parent,
    )


def collector_server(
    program: Program,
    folder: Path,
    ports: Ports,
    variables: Mapping[str, str],
    *,
    jaeger_otlp: int,
    pair: PairedCollector | None = None,
) -> Child:
    """Returns a collector: Jaeger's binary with the configuration that production gives to the contrib image.

    jaeger_otlp: the port to which it sends what it keeps. pair: which traces it samples; None for all.
    """
    environment = {
        "COLLECTOR_OTLP_GRPC": f"{HOST}:{ports.otlp_grpc}",
        "COLLECTOR_OTLP_HTTP": f"{HOST}:{ports.otlp_http}",
        "COLLECTOR_METRICS": f"{HOST}:{ports.metrics}",
        "COLLECTOR_TELEMETRY_HOST": HOST,
        "COLLECTOR_TELEMETRY_PORT": str(ports.collector_telemetry),
        "COLLECTOR_TRACES_TO": f"{HOST}:{jaeger_otlp}",
        "COLLECTOR_METRICS_FLUSH": "1s",  # somebody waits for the result
        "FIRSTWORD_DECISION_WAIT": "1s",
        **variables,
    }
    arguments, listens = _configured("otel-collector.yaml", folder), ()
    if pair is not None:
        arguments += _configured("deploy/collector-two.yaml", folder)
        environment |= {
            "COLLECTOR_SAMPLES": pair.first_digits,
            "COLLECTOR_PEERS": f"{HOST}:{pair.port}",
            "COLLECTOR_PEER": f"{HOST}:{pair.peer_port}",
        }
        listens = (pair.port,)
    return Child(
        name="collector",
        command=program.command(arguments, folder, environment),
        environment=_environment(environment),
        inherit=False,
        log=folder / "collector.log",
        ready_url=f"http://{HOST}:{ports.otlp_http}/v1/traces",
        ready_status=405,  # the receivers start last, and take POST only
        tcp_ports=(ports.otlp_grpc, ports.otlp_http, ports.metrics, ports.collector_telemetry, *listens),
        end_with_parent=program.end_with_parent,
    )


def redis_server(program: Program, folder: Path, port: int) -> Child:
    """Returns a Redis that keeps nothing on disk."""
    options = ("--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no")
    return Child(
        name="redis-server",
        command=program.command(options, folder, {}),
        environment=_environment({}),
        inherit=False,
        log=folder / "redis.log",
        tcp_ports=(port,),
        end_with_parent=program.end_with_parent,
    )


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """`variables` and of ours only what any program needs: LIVEKIT_KEYS, NODE_IP or OTEL_* would change the servers."""
    ours = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("DOCKER_")}
    return {**ours, **variables}


def _configured(name: str, folder: Path) -> tuple[str, ...]:
    """Arguments for the configuration `name`, from a copy in `folder`: a container sees only that."""
    return ("--config", str(shutil.copy(data_file(name), folder)))
