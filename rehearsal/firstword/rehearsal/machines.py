"""Runs what a deployment on two machines has, as processes of this one: `firstword up --machines 2`.

Each machine has a node of LiveKit and a collector of its own. They share Redis, which joins the nodes and is the
workers' cache, the accounts in PostgreSQL, and Jaeger. The workers themselves are the caller's.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from firstword.agent.accounts.sql_store import SQLStore
from firstword.rehearsal.local_servers import (
    HOST,
    PairedCollector,
    collector_server,
    jaeger_server,
    livekit_server,
    redis_server,
)
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.postgres import NoPostgres, running_postgres
from firstword.rehearsal.processes import ServerError, free_ports, running
from firstword.rehearsal.result import LOGS
from firstword.rehearsal.servers import JAEGER, LIVEKIT, REDIS, Progress, find
from firstword.rehearsal.stack import Keys, Stack, stack_at

DIGITS: Final = ("0-7", "8-9a-f")
"""First digits of the trace ids that each machine's collector samples."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: the addresses of its LiveKit node and collector, and the folder of its logs and its worker's."""

    stack: Stack
    folder: Path


@dataclass(frozen=True, slots=True)
class Machines:
    """Machines that run, and what they share."""

    each: Sequence[Machine]
    redis_url: str | None = None
    """The workers' cache; None where one machine has its own."""
    store_url: str | None = None
    """The accounts in PostgreSQL; None where no PostgreSQL was found, or one machine has its own."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Returns the environment that leads a worker to what the machines share."""
        found = {"FIRSTWORD_CACHE_URL": self.redis_url, "FIRSTWORD_STORE_URL": self.store_url}
        return {name: url for name, url in found.items() if url is not None}


class NoExtra(ServerError):
    """Raised where a package is missing that only workers on several machines need."""


@contextlib.asynccontextmanager
async def two_machines(
    folder: Path,
    *,
    ports: Ports | None = None,
    environment: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda _: None,
    report: Callable[[Progress], None] = lambda _: None,
) -> AsyncGenerator[Machines]:
    """Runs the servers of two machines, ready on entry and gone on exit. All of them listen on loopback.

    The first machine has its logs in `folder`, as one machine alone has, and listens on `ports`; the second has its own
    below. `environment` has variables of the collectors and of Jaeger. `say` hears a sentence where PostgreSQL is
    missing, and `report` of a build. Raises ServerError.
    """
    _require_extras()
    places = _places(folder)
    own = (ports or Ports.free(), Ports.free())
    redis_port, *peers = free_ports(3)
    livekit, jaeger, redis = [await find(server, report) for server in (LIVEKIT, JAEGER, REDIS)]
    keys, variables, logs = Keys.new(), environment or {}, places[0] / LOGS
    async with contextlib.AsyncExitStack() as servers:
        await servers.enter_async_context(running(redis_server(redis, logs, redis_port)))
        store_url = await _store(servers, say)
        await servers.enter_async_context(running(jaeger_server(jaeger, logs, own[0], variables)))
        machines: list[Machine] = []
        for place, at, digits, (port, peer) in zip(places, own, DIGITS, (peers, peers[::-1]), strict=True):
            collector = collector_server(
                jaeger,
                place / LOGS,
                at,
                variables,
                jaeger_otlp=own[0].jaeger_otlp,
                pair=PairedCollector(digits, port, peer),
            )
            await servers.enter_async_context(running(collector))
            node = livekit_server(livekit, place / LOGS, at, {keys.key: keys.secret}, redis_port)
            await servers.enter_async_context(running(node))
            stack = stack_at(at, keys, jaeger_http=own[0].jaeger_http, jaeger_page=jaeger.origin != "built")
            machines.append(Machine(stack, place))
        yield Machines(machines, f"redis://{HOST}:{redis_port}", store_url)


def _places(folder: Path) -> tuple[Path, Path]:
    places = (folder.resolve(), folder.resolve() / "machine-2")
    for place in places:
        (place / LOGS).mkdir(parents=True, exist_ok=True)
    return places


def _require_extras() -> None:
    missing = [name for name in ("redis", "asyncpg") if find_spec(name) is None]
    if missing:
        raise NoExtra(f"two machines need {' and '.join(missing)}; expected: pip install 'firstword[all]'")


async def _store(servers: contextlib.AsyncExitStack, say: Callable[[str], None]) -> str | None:
    """The accounts' database with the example accounts in it; None, and a sentence, without PostgreSQL."""
    try:
        url = await servers.enter_async_context(running_postgres())
    except NoPostgres as error:
        say(f"{error}. The workers share an SQLite file instead")
        return None
    store = await SQLStore.open(url, seed=True)
    await store.aclose()
    return url
