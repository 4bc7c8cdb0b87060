"""What callers notice when one of two LiveKit nodes is restarted: of calls on it, and of those who call meanwhile.

    python -m benchmarks.node_restart            # SIGTERM: the node's calls end first
    python -m benchmarks.node_restart --kill     # SIGKILL, as when a machine is lost

Two nodes share Redis. A balancer stands before them, as in production: each connection goes to a node that takes it. Two workers are
registered through it. Callers call at a steady rate and stay on the line. Then one node is ended, and is started again when it has
gone. At the end of each call the caller says something: the call goes on if the agent is heard to answer. It needs redis-server on PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import signal
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from livekit import api, rtc
from redis.asyncio import Redis

from benchmarks.deployment import deployment
from benchmarks.door import copy
from benchmarks.steady_calls import Call, Steady, steady_calls, summary
from firstword.rehearsal.environment import Choice
from firstword.rehearsal.local_servers import HOST, livekit_server, redis_server
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.processes import Child, ServerFailed, free_ports, running
from firstword.rehearsal.servers import LIVEKIT, REDIS, find
from firstword.rehearsal.stack import Keys, Stack, stack_at

SOON_S = 10.0
"""Seconds in which nobody has noticed yet: a node is taken for alive for five."""
AWAY_S = 2.0
"""Seconds from the end of a killed node to its new start."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When the node goes, and how."""

    kill: bool = False
    steady: Steady = field(default_factory=Steady)
    before_s: float = 18.0
    """Seconds of calls before the node is ended."""
    after_s: float = 24.0
    """Seconds of calls from then on."""


class Node:
    """One LiveKit server, which can be ended and started again."""

    def __init__(self, child: Child, port: int) -> None:
        self.port = port
        self._child = child
        self._lives = contextlib.AsyncExitStack()
        self._process: Process | None = None

    async def start(self) -> None:
        """Starts it; it is ready then."""
        self._process = await self._lives.enter_async_context(running(self._child))

    async def end(self, number: signal.Signals) -> None:
        """Sends the signal, and waits until it is gone."""
        assert self._process is not None
        self._process.send_signal(number)
        await self._process.wait()
        await self.aclose()

    async def aclose(self) -> None:
        """Ends it, if it runs."""
        with contextlib.suppress(ServerFailed):  # it had ended, and was meant to
            await self._lives.aclose()

    @property
    def id(self) -> str:
        """Returns LiveKit's id of the node since its last start."""
        lines = self._child.log.read_text(errors="replace").splitlines()
        started = [line for line in lines if "starting LiveKit server" in line]
        return json.loads(started[-1][started[-1].index("{") :])["nodeID"]


@contextlib.asynccontextmanager
async def two_nodes(folder: Path) -> AsyncGenerator[tuple[Stack, list[Node], str]]:
    """Two nodes with one Redis behind a balancer: the stack is the balancer's address. Also the URL of Redis."""
    redis_port, port = free_ports(2)
    program, keys, places = await find(LIVEKIT), Keys.new(), [folder / name for name in ("node-1", "node-2")]
    async with contextlib.AsyncExitStack() as everything:
        await everything.enter_async_context(running(redis_server(await find(REDIS), folder, redis_port)))
        nodes: list[Node] = []
        for place in places:
            place.mkdir()
            ports = Ports.free()
            nodes.append(
                Node(livekit_server(program, place, ports, {keys.key: keys.secret}, redis_port), ports.livekit)
            )
            everything.push_async_callback(nodes[-1].aclose)
            await nodes[-1].start()
        await everything.enter_async_context(balancer(port, [node.port for node in nodes]))
        stack = replace(stack_at(Ports.free(), keys, jaeger_http=None), livekit_url=f"ws://{HOST}:{port}")
        yield stack, nodes, f"redis://{HOST}:{redis_port}"


@contextlib.asynccontextmanager
async def balancer(port: int, targets: Sequence[int]) -> AsyncGenerator[None]:
    """Hands each connection to one of the ports in turn, to the next where one refuses it."""
    turns: Iterator[int] = itertools.count()
    relays: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relays.add(task)
        task.add_done_callback(relays.discard)
        first = next(turns)
        for number in range(len(targets)):
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(HOST, targets[(first + number) % len(targets)])
                await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer))
                return
        writer.close()

    server = await asyncio.start_server(serve, HOST, port)
    try:
        yield
    finally:
        server.close()
        for each in list(relays):
            each.cancel()
        await asyncio.gather(*relays, return_exceptions=True)


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until one side ends, then ends the other."""
    with contextlib.suppress(OSError):
        await copy(reader, writer)
    writer.close()


@dataclass(slots=True)
class Result:
    """Calls of one restart."""

    calls: list[Call] = field(default_factory=list[Call])
    node: str = ""
    """The node that was ended."""
    ended_at: float = 0.0
    """When it was told to end."""
    gone_s: float = 0.0
    """Seconds until it had."""

    def report(self) -> Iterator[str]:
        """Yields a line for each group of calls."""
        on_it = [call for call in self.calls if call.place == self.node and call.went_on(self.ended_at)]
        groups = {
            "calls on the node": on_it,
            "calls on the other": [call for call in self.calls if call.went_on(self.ended_at) and call not in on_it],
            "callers in the next 10 s": [call for call in self.calls if 0 <= call.began - self.ended_at < SOON_S],
            "callers after that": [call for call in self.calls if call.began - self.ended_at >= SOON_S],
        }
        yield f"the node had gone {self.gone_s:.1f} s after the signal"
        yield from (f"{name}: {summary(calls, self.ended_at)}" for name, calls in groups.items())

    @property
    def unheard_later(self) -> int:
        """Returns how many who called later than that heard nothing."""
        return sum(call.heard_s is None for call in self.calls if call.began - self.ended_at >= SOON_S)


async def restart(folder: Path, plan: Plan) -> Result:
    """Restarts one of two nodes under steady calls."""
    result, over = Result(), asyncio.Event()
    async with two_nodes(folder) as (stack, nodes, redis_url):
        choice = Choice(stack, "two nodes", {"openai": None, "deepgram": None}, real=False)
        async with (
            deployment(folder, 2, choice) as (_, _),
            api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
            Redis.from_url(redis_url, decode_responses=True) as redis,
            asyncio.TaskGroup() as tasks,
        ):

            async def node_of(room: rtc.Room) -> str | None:
                return await cast(Any, redis).hget("room_node_map", room.name)  # partly untyped

            tasks.create_task(steady_calls(stack, rooms, plan.steady, result.calls, over, node_of))
            try:
                await asyncio.sleep(plan.before_s)
                node = nodes[0]
                result.node, result.ended_at = node.id, time.monotonic()
                await node.end(signal.SIGKILL if plan.kill else signal.SIGTERM)
                result.gone_s = time.monotonic() - result.ended_at
                if plan.kill:
                    await asyncio.sleep(AWAY_S)
                await node.start()
                await asyncio.sleep(max(0.0, result.ended_at + plan.after_s - time.monotonic()))
            finally:
                over.set()
    return result


def main() -> int:
    """Measure and print; the exit code says whether somebody was unheard afterwards."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.node_restart",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kill", action="store_true", help="end the node by SIGKILL, not by SIGTERM")
    parser.add_argument("--every", type=float, default=8.0, metavar="SECONDS", help="from caller to caller (8)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="a new folder that keeps the logs")
    typed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if typed.output is None else typed.output.resolve()
        folder.mkdir(parents=True, exist_ok=typed.output is None)
        result = asyncio.run(restart(folder, Plan(typed.kill, Steady(every_s=typed.every))))
    print("\n".join(result.report()))
    return int(result.unheard_later > 0)


if __name__ == "__main__":
    raise SystemExit(main())
