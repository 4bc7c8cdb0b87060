"""`firstword up --machines 2`: two nodes, workers and collectors that share what production shares are one deployment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from opentelemetry.trace import SpanContext
from redis.asyncio import Redis

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.sql_store import SQLStore
from firstword.rehearsal.callers import RehearsalCaller, join_token
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.result import LOGS, TRACES
from firstword.rehearsal.stack import Stack
from firstword.telemetry import vocabulary
from tests.calls.traces import Traced, find_start, spans_of
from tests.calls.waiting import PATIENCE, until
from tests.calls.workers import PATIENT
from tests.redis import redis_server
from tests.rehearsal.test_stack import gone, nothing_left
from tests.test_collector import exporter, send, stored, trace
from tests.test_up import FIRSTWORD, environment

PROFILE = "tuned"
MOST_CALLS = 40
"""LiveKit draws a node for each room, and a worker for each job: so many calls never miss one of them."""
TRACES_SENT = 8
"""Of either kind: by their ids some are sampled by one collector, some by the other."""
DEFERRED = "deferred.analytics"
"""The last span of a start's trace."""


@dataclass(frozen=True)
class Machine:
    """One of the two, as `up --json` has it."""

    stack: Stack
    folder: Path
    redis_url: str

    @property
    def node_id(self) -> str:
        """The name of its node among LiveKit's."""
        (line,) = (line for line in self.node_log.splitlines() if "starting LiveKit server" in line)
        return json.loads(line[line.index("{") :])["nodeID"]

    @property
    def node_log(self) -> str:
        """What its node has logged."""
        return (self.folder / LOGS / "livekit-server.log").read_text(errors="replace")

    @property
    def worker_pid(self) -> int:
        """The worker's own process."""
        return next(line["pid"] for line in self.log if line["message"] == "starting worker")

    @property
    def log(self) -> list[dict[str, Any]]:
        """What its worker has logged."""
        log = (self.folder / LOGS / f"{PROFILE}.log").read_text(errors="replace")
        return [json.loads(line) for line in log.splitlines() if line.startswith("{")]

    def took(self, sid: str) -> bool:
        """Whether its worker got the job of that room."""
        return any(line["message"] == "received job request" and line["room_id"] == sid for line in self.log)

    def start(self, sid: str) -> Traced | None:
        """The whole trace of its worker's start in that room, by the worker's own file; None while it is not whole."""
        found = find_start(spans_of(self.folder / TRACES / PROFILE), sid)
        return found if found and {vocabulary.READY, DEFERRED} <= set(found.names) else None


@dataclass(frozen=True)
class Call:
    """One caller who was greeted: where they called, where the room lived, whose worker greeted them, and its trace."""

    entry: int
    node: int
    worker: int
    start: Traced


@pytest.mark.real
@pytest.mark.jaeger
async def test_two_machines_are_one_deployment(tmp_path: Path) -> None:
    """Callers of either node are greeted by either worker; caches, accounts and whole traces are shared; SIGTERM ends all.

    Every start is slow here, and of all other traces nothing is kept: so a start is in Jaeger whole if the two collectors
    decide as one, and in pieces or not at all else.
    """
    path = tmp_path / "bin"
    path.mkdir()
    (path / "redis-server").symlink_to(redis_server())
    shell = environment(tmp_path)
    shell |= {"PATH": f"{path}:{shell['PATH']}", **PATIENT, "FIRSTWORD_CACHE_DEADLINE": str(PATIENCE)}
    shell |= {"FIRSTWORD_SLOW": "0.001", "FIRSTWORD_KEEP_PERCENT": "0"}
    shell |= {"FIRSTWORD_DECISION_WAIT": "5s"}  # on a busy machine the two parts of a trace come one after the other
    async with nothing_left(Ports()), up(tmp_path, shell) as (at, children):
        machines = machines_of(at)
        parts = sent_in_parts([machine.stack for machine in machines])
        account = await stranger(at["store_url"])
        calls = [await greeted(machines, 0, account)]
        while len(calls) < MOST_CALLS and not all_seen(calls):
            calls.append(await greeted(machines, len(calls) % 2, account))
        assert all_seen(calls), calls
        starts = [call.start for call in calls]
        assert {start.outcome for start in starts} == {"first_word"}
        hits = [start["greeting"].attributes[vocabulary.CACHE] for start in starts]
        assert hits == ["miss", *["hit"] * (len(hits) - 1)], calls
        await usual_ones_are_dropped_and_slow_ones_kept(machines[0].stack, parts)
        for start in starts:
            await is_kept_whole(machines[0].stack, start)
        os.kill(machines[0].worker_pid, signal.SIGKILL)
        await until(lambda: "worker deregistered" in machines[0].node_log)  # until then it is offered jobs
        assert (await greeted(machines, 0, account)).worker == 1, "the command goes on with the worker that is left"
    await gone(children)


@contextlib.asynccontextmanager
async def up(place: Path, shell: Mapping[str, str]) -> AsyncGenerator[tuple[dict[str, Any], list[int]]]:
    """The command, ended by SIGTERM: its addresses, and the ids of its processes."""
    process = await asyncio.create_subprocess_exec(
        *(*FIRSTWORD, "up", "--machines", "2", "--json"), cwd=place, env=shell, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert line, "it ended before all was up; its last words are above"
        yield json.loads(line), [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        rest, _ = await process.communicate()
    assert (process.returncode, rest) == (130, b"")


def machines_of(at: Mapping[str, Any]) -> list[Machine]:
    """Both, with the key that they share."""
    ((key, secret),) = json.loads(Path(at["secret_file"]).read_text())["keys"].items()
    return [
        Machine(
            Stack(
                livekit_url=each["livekit_url"],
                api_key=key,
                api_secret=secret,
                pid=0,
                otlp_endpoint=each["otlp_endpoint"],
                otlp_http_endpoint=each["otlp_http_endpoint"],
                metrics_url=each["metrics_url"],
                jaeger_url=at["jaeger_url"],
            ),
            Path(each["folder"]),
            at["redis_url"],
        )
        for each in at["machines"]
    ]


async def stranger(store_url: str) -> str:
    """The id of an account in the shared database that no worker has greeted or read."""
    account = replace(ACCOUNTS[0], id=secrets.token_hex(4), name=f"Grace {secrets.token_hex(3)}")
    store = await SQLStore.open(store_url)
    await store.save(account)
    await store.aclose()
    return account.id


async def greeted(machines: Sequence[Machine], entry: int, account: str) -> Call:
    """One caller of the node of `entry`, who hears the agent and hangs up when its start has ended: what it has made is
    kept by then, and no task was cancelled."""
    room = f"machines-{secrets.token_hex(4)}"
    stack = machines[entry].stack
    metadata = json.dumps({"account": account})
    token = join_token(stack, room=room, identity="caller", agent_name="firstword", metadata=metadata)
    caller = RehearsalCaller(stack.livekit_url, token)
    try:
        await caller.connect()
        await caller.hear(PATIENCE)
        sid = await caller.room.sid
        async with Redis.from_url(machines[entry].redis_url, decode_responses=True) as redis:
            node = await cast(Any, redis).hget("room_node_map", room)  # partly untyped
        (worker,) = (number for number, machine in enumerate(machines) if machine.took(sid))
        start = await whole(machines[worker], sid)
    finally:
        await caller.leave()
    return Call(entry, [machine.node_id for machine in machines].index(node), worker, start)


def all_seen(calls: Sequence[Call]) -> bool:
    """Whether both nodes had a room and both workers a job, one of them a job of the other machine's node."""
    nodes, workers = {call.node for call in calls}, {call.worker for call in calls}
    return nodes == workers == {0, 1} and any(call.node != call.worker for call in calls)


async def whole(machine: Machine, sid: str) -> Traced:
    """The trace of that start, once all of it has been exported."""
    await until(lambda: machine.start(sid) is not None)
    start = machine.start(sid)
    assert start is not None
    return start


def sent_in_parts(stacks: Sequence[Stack]) -> dict[bool, list[SpanContext]]:
    """Traces in two parts, each sent to another collector: the roots of slow ones, and those of usual ones."""
    roots: dict[bool, list[SpanContext]] = {True: [], False: []}
    for number in range(TRACES_SENT):
        first, second = stacks[:: 1 if number % 2 else -1]
        for slow in (False, True):
            root = send(exporter(first), {vocabulary.OUTCOME: "first_word", vocabulary.SLOW: slow})
            send(exporter(second), {}, name="part", parent=root)
            roots[slow].append(root)
    return roots


async def usual_ones_are_dropped_and_slow_ones_kept(stack: Stack, roots: Mapping[bool, Sequence[SpanContext]]) -> None:
    """All of a slow one is there, and nothing of a usual one."""
    for root in roots[True]:
        names = sorted(span["operationName"] for span in await stored(stack, root, spans=2))
        assert names == ["part", vocabulary.ROOT]
    for root in roots[False]:
        assert await trace(stack, root) == []


async def is_kept_whole(stack: Stack, start: Traced) -> None:
    """Jaeger has each span of the start that its worker made, once."""
    made = sorted(span.span_id for span in start.spans)
    root = SpanContext(int(start.root.trace_id, 16), int(start.root.span_id, 16), is_remote=True)
    kept = sorted(span["spanID"] for span in await stored(stack, root, spans=len(made)))
    assert kept == made
