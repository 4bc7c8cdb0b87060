"""The ports of 127.0.0.1 on which the servers of one machine listen: the usual ones, or free ones from the kernel."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Self

from firstword.rehearsal.processes import PortTaken, free_ports, require_free


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of 127.0.0.1 on which each server of the stack listens; the defaults are the ones their users know."""

    livekit: int = 7880
    livekit_udp: int = 7882
    otlp_grpc: int = 4317
    otlp_http: int = 4318
    metrics: int = 8889
    collector_telemetry: int = 8888
    jaeger_http: int = 16686
    jaeger_grpc: int = 16685
    jaeger_otlp: int = 14317
    jaeger_health: int = 13133
    jaeger_telemetry: int = 18888
    prometheus: int = 9090

    @classmethod
    def free(cls) -> Self:
        """Returns ports on which nobody listens, from the kernel."""
        names = cls.__dataclass_fields__
        return cls(**dict(zip(names, free_ports(len(names)), strict=True)))

    def free_where_taken(self, say: Callable[[str], None]) -> Ports:
        """Returns these ports, with a free port in place of each that is taken.

        say: gets a sentence for each that is taken, which names both ports and who has the first.
        """
        ports = asdict(self)
        for name, port in ports.items():
            try:
                require_free(port, socket.SOCK_DGRAM if name == "livekit_udp" else socket.SOCK_STREAM, name)
            except PortTaken as error:
                (ports[name],) = free_ports(1)
                say(f"{error}; {ports[name]} is used instead")
        return Ports(**ports)
