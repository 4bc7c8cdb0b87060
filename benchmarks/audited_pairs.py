"""Calls two versions of one agent in turn, on one real LiveKit server, and audits the first: for benchmarks.opportunities.

Both versions meet the same machine: each round calls either once, the order turned. Only the first is asked what it could save.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from livekit import api, rtc

from firstword.rehearsal.agent_file import AgentFile
from firstword.rehearsal.agent_process import AgentPlace, look_at, place_agent, running_agent
from firstword.rehearsal.audit import Audit, agent_facts
from firstword.rehearsal.calls import calling
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.first_heard import first_heard
from firstword.rehearsal.result import read_starts
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.workers import FLOOR, RunningWorker, running_worker
from firstword.tuning.audit.facts import AuditedSession, AuditRun, FirstVoice
from firstword.tuning.audit.opportunities import Opportunity
from firstword.tuning.audit.report import audit_report

AGENTS = Path(__file__).parent / "audited_agents"
PROVIDERS = AGENTS / "providers.toml"
PATIENCE_S = 15.0
STAY_S = 1.5
"""As an audit's callers stay: the spans of a start are made a second after its first word."""
CROWDED_BY_S = 0.05


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an agent, and how it is called."""

    file: Path
    ahead_by: float | None = None
    """Seconds that its job comes before the caller; None: with them."""
    metadata: str = ""
    crowded: bool = False
    """Whether another caller comes right before, who takes the idle process."""


@dataclass(frozen=True, slots=True)
class AgentPair:
    """An agent with the fault that a rule finds, and without it."""

    rule: str
    before: Version
    after: Version
    needs_floor: bool = False
    """Whether the prediction is made from the floor's time."""
    function: str = ""
    """The function of the agent's that the change is about, where the rule may find others too."""


@dataclass(frozen=True, slots=True)
class PairRun:
    """What the callers of a pair heard, in seconds, by round; and what the audit of the first version offers by the rule."""

    before_s: tuple[float, ...]
    after_s: tuple[float, ...]
    opportunity: Opportunity | None


@dataclass(frozen=True, slots=True)
class _Running:
    version: Version
    place: AgentPlace
    file: AgentFile
    worker: RunningWorker


@contextlib.asynccontextmanager
async def servers(folder: Path) -> AsyncGenerator[tuple[Stack, dict[str, str]]]:
    """LiveKit's server and simulated providers that are as slow each time, for all pairs. Raises ServerError."""
    async with LocalStack(folder) as stack, simulators(PROVIDERS, folder / "providers.log") as addresses:
        yield stack, addresses


async def run_pair(
    pair: AgentPair,
    rounds: int,
    stack: Stack,
    addresses: dict[str, str],
    folder: Path,
    *,
    report: Callable[[int], None] = lambda _: None,
) -> PairRun:
    """Call both versions of a pair in turn. `report` hears of each round that is done. Raises ServerError, BadAgent."""
    before_s: list[float] = []
    after_s: list[float] = []
    floor_s: list[float | None] = []
    sids: list[str] = []
    async with contextlib.AsyncExitStack() as everything:
        rooms = await everything.enter_async_context(api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret))
        before = await _started(pair.before, stack, addresses, folder / "before", everything)
        after = await _started(pair.after, stack, addresses, folder / "after", everything)
        floor = await _floor(stack, folder, everything) if pair.needs_floor else None
        workers = [each for each in (before.worker, after.worker, floor) if each is not None]
        for number in range(rounds):
            for side in (before, after) if number % 2 == 0 else (after, before):
                heard, sid = await _call(side.version, side.worker, workers, stack, rooms)
                if side is before:
                    before_s.append(heard)
                    sids.append(sid)
                else:
                    after_s.append(heard)
            if floor is not None:
                floor_s.append((await _call(Version(pair.before.file), floor, workers, stack, rooms))[0])
            report(number + 1)
        await _at_rest(workers)
        starts = read_starts(before.place.traces)
        sessions = [
            AuditedSession(heard if math.isfinite(heard) else None, start=starts.get(sid))
            for heard, sid in zip(before_s, sids, strict=True)
        ]
        plan = Audit(pair.before.file, Path(sys.executable), pair.before.file.parent)
        facts = agent_facts(plan, before.place, before.file)
    offered = audit_report(AuditRun(facts, tuple(sessions), tuple(floor_s))).opportunities
    found = [each for each in offered if each.rule.name == pair.rule and _is_about(each, pair.function)]
    return PairRun(tuple(before_s), tuple(after_s), found[0] if found else None)


def _is_about(found: Opportunity, function: str) -> bool:
    return not function or any(row.source is not None and row.source.function == function for row in found.evidence)


async def _started(
    version: Version, stack: Stack, addresses: dict[str, str], folder: Path, everything: contextlib.AsyncExitStack
) -> _Running:
    place = place_agent(version.file, Path(sys.executable), version.file.parent, folder, stack, addresses)
    # modules beside the file are importable where others are preloaded, too
    path = f"{version.file.parent}{os.pathsep}{place.environment['PYTHONPATH']}"
    place = replace(place, environment={**place.environment, "PYTHONPATH": path})
    file = await look_at(place)
    return _Running(version, place, file, await everything.enter_async_context(running_agent(place, file)))


async def _floor(stack: Stack, folder: Path, everything: contextlib.AsyncExitStack) -> RunningWorker:
    worker = await everything.enter_async_context(
        running_worker(
            FLOOR,
            agent_name=f"floor-{secrets.token_hex(3)}",
            folder=folder,
            stack=stack,
            environment={"FIRSTWORD_IDLE_PROCESSES": "1"},
        )
    )
    await worker.registered()
    return worker


async def _at_rest(workers: list[RunningWorker]) -> None:
    for each in workers:
        await each.at_rest()


async def _call(
    version: Version, worker: RunningWorker, workers: list[RunningWorker], stack: Stack, rooms: api.LiveKitAPI
) -> tuple[float, str]:
    """Seconds until the caller was greeted, infinite for never, and the room's id."""
    await _at_rest(workers)
    async with contextlib.AsyncExitStack() as calls:
        if version.crowded:
            other = await calls.enter_async_context(_calling(version, worker, stack, rooms))
            await other.connect()
            await asyncio.sleep(CROWDED_BY_S)
        caller = await calls.enter_async_context(_calling(version, worker, stack, rooms))
        sid, heard = "", float("inf")
        with contextlib.suppress(TimeoutError, rtc.ConnectError):
            await caller.connect()
            sid = await caller.room.sid
            first = await first_heard(caller, PATIENCE_S)
            # one who had to speak first was not greeted, and their seconds count from elsewhere
            heard = first.seconds if first.first_voice is FirstVoice.GREETS else heard
            await asyncio.sleep(STAY_S)
        return heard, sid


def _calling(version: Version, worker: RunningWorker, stack: Stack, rooms: api.LiveKitAPI):
    return calling(
        stack,
        rooms,
        room=f"pair-{secrets.token_hex(4)}",
        agent_name=worker.agent_name,
        metadata=version.metadata,
        ahead_by=version.ahead_by,
    )
