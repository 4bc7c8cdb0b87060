"""Runs an audit: the user's own agent beside the floor, called in turn by callers who listen.

On top of the running of agents: servers, simulators, the agent and the floor, then the calls. What is made of them is
`firstword.tuning.audit`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from livekit import api, rtc

from firstword.rehearsal.agent_file import AgentFile, BadAgent
from firstword.rehearsal.agent_process import (
    AgentPlace,
    failed,
    look_at,
    place_agent,
    refused,
    running_agent,
    unless_it_fails,
    why_silent,
)
from firstword.rehearsal.calls import calling
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.first_heard import FirstHeard, first_heard
from firstword.rehearsal.result import LOGS, read_starts
from firstword.rehearsal.servers import Progress
from firstword.rehearsal.simulated_providers import name_of
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.workers import FLOOR, RunningWorker, running_worker
from firstword.telemetry.record import Dispatch
from firstword.tuning.audit.facts import AgentFacts, AuditedSession, AuditRun, FirstVoice
from firstword.tuning.wording import agree, amount

_STAY_S = 1.5
"""A caller hears the agent's first words, and hangs up: not before the start's spans are made, a second after the first
word. An agent whose loop its caller's leaving stops would make none."""
CALL_S = 45.0
"""Seconds that one call takes at most; then its caller hangs up. They suffice to wait 20 s for a greeting, and as long for an answer."""
_SILENT_BEFORE_GIVING_UP = 2
"""Callers who hear nothing, before the audit ends."""


class NeverHeard(BadAgent):
    """Raised where the agent runs and no caller hears it; the message is one line, as BadAgent's."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The plan of an audit: which agent, and how it is called. Times are in seconds, paths absolute."""

    file: Path
    python: Path
    folder: Path
    """The folder in which the agent runs."""
    sessions: int = 5
    """Number of sessions of the agent, and as many of the floor."""
    dispatch: Dispatch = Dispatch.JOIN
    ahead_by: float = 3.0
    """With dispatch `ahead`: how long the job comes before the caller."""
    metadata: str = ""
    """Metadata of the jobs."""
    real: bool = False
    latencies: Path | None = None
    """Latency model of the simulated providers."""
    patience: float = 20.0
    """How long a caller waits to hear something."""


async def audit(
    plan: Audit,
    folder: Path,
    *,
    report: Callable[[Progress], None] = lambda _: None,
    announce: Callable[[AgentFile], None] = lambda _: None,
) -> AuditRun:
    """Runs the audit with logs and traces in `folder`, which exists, and returns what it found. `report` hears how it
    goes.

    `announce` hears of the file once it has been looked at, before the agent runs.

    Raises BadAgent where the agent can't be run, NeverHeard where no caller hears it, another ServerError where no server
    can be had.
    """
    calls = _Calls()
    async with _running_audit(plan, folder, report, announce) as running:
        await _call_all(plan, running, calls, report)
    starts = read_starts(running.place.traces)
    sessions = tuple(
        replace(session, start=starts.get(sid)) for session, sid in zip(calls.sessions, calls.room_sids, strict=True)
    )
    facts = replace(agent_facts(plan, running.place, running.file), unseen=unseen(running.agent))
    return AuditRun(facts, sessions, tuple(calls.floor_s))


@dataclass(frozen=True, slots=True)
class RunningAudit:
    """Everything that runs during an audit: servers, the agent and the floor."""

    stack: Stack
    rooms: api.LiveKitAPI
    place: AgentPlace
    file: AgentFile
    agent: RunningWorker
    floor: RunningWorker


class _Calls:
    """What the calls so far have brought."""

    def __init__(self) -> None:
        self.sessions: list[AuditedSession] = []
        self.room_sids: list[str] = []
        self.floor_s: list[float | None] = []


@contextlib.asynccontextmanager
async def _running_audit(
    plan: Audit, folder: Path, report: Callable[[Progress], None], announce: Callable[[AgentFile], None]
) -> AsyncGenerator[RunningAudit]:
    logs = folder / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as everything:
        report(Progress("starting the servers"))
        stack = await everything.enter_async_context(LocalStack(logs, report=report))
        addresses = None
        if not plan.real:
            addresses = await everything.enter_async_context(simulators(plan.latencies, logs / "providers.log"))
        report(Progress(f"importing {plan.file.name}"))
        place = place_agent(plan.file, plan.python, plan.folder, folder, stack, addresses)
        file = await look_at(place)
        announce(file)
        report(Progress(f"warming the worker of {plan.file.name}"))
        agent = await everything.enter_async_context(running_agent(place, file))
        report(Progress("warming the floor"))
        floor = await everything.enter_async_context(
            running_worker(
                FLOOR,
                agent_name=f"floor-{secrets.token_hex(3)}",
                folder=folder,
                stack=stack,
                environment=_as_the_agent(_worker_fact(place)),
            )
        )
        await floor.registered()
        rooms = await everything.enter_async_context(api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret))
        yield RunningAudit(stack, rooms, place, file, agent, floor)


def _worker_fact(place: AgentPlace) -> dict[str, Any]:
    workers = [fact for fact in place.facts if fact["fact"] == "worker"]
    return workers[0] if workers else {}


def _as_the_agent(worker: dict[str, Any]) -> dict[str, str]:
    """The floor's executor and idle processes: those of the agent, with one process at least."""
    return {
        "FIRSTWORD_EXECUTOR": str(worker.get("executor", "process")),
        "FIRSTWORD_IDLE_PROCESSES": str(max(1, worker.get("idle", 1))),
    }


async def _call_all(plan: Audit, running: RunningAudit, calls: _Calls, report: Callable[[Progress], None]) -> None:
    """Agent and floor in turn, and each first every other time."""
    total = 2 * plan.sessions
    for number in range(plan.sessions):
        turn = (running.agent, running.floor) if number % 2 == 0 else (running.floor, running.agent)
        for worker in turn:
            done = len(calls.sessions) + len(calls.floor_s)
            report(Progress(f"call {done + 1} of {total}: {worker.profile}", done, total))
            for each in turn:
                await each.at_rest()
            await _call(plan, running, worker, calls)
            if worker is running.agent:
                _require_voice(running, calls.sessions)
    report(Progress("waiting for the last traces", total, total))
    await running.agent.at_rest()


async def _call(plan: Audit, running: RunningAudit, worker: RunningWorker, calls: _Calls) -> None:
    """One call, and what came of it."""
    metadata = plan.metadata if worker is running.agent else ""
    heard: FirstHeard | None = None
    silence: str | None = None
    sid = ""
    since = running.place.log.stat().st_size  # microseconds
    async with calling(
        running.stack,
        running.rooms,
        room=f"{worker.profile}-{secrets.token_hex(4)}",
        agent_name=worker.agent_name,
        metadata=metadata,
        ahead_by=plan.ahead_by if plan.dispatch is Dispatch.AHEAD else None,
    ) as caller:
        try:
            async with asyncio.timeout(CALL_S):
                await caller.connect()
                sid = await caller.room.sid
                listening = first_heard(caller, plan.patience)
                is_agent = worker is running.agent
                heard = await (unless_it_fails(running.place, since, listening) if is_agent else listening)
                await asyncio.sleep(_STAY_S)
        except (TimeoutError, BadAgent):
            silence = why_silent(running.place, since) if worker is running.agent else "the floor was not heard"
        except rtc.ConnectError as error:
            silence = f"not connected: {error.message}"
    seconds = heard.seconds if heard else None
    if worker is running.floor:
        calls.floor_s.append(seconds)
        return
    voice = heard.first_voice if heard else FirstVoice.GREETS
    calls.sessions.append(AuditedSession(seconds, voice, silence))
    calls.room_sids.append(sid)


def _require_voice(running: RunningAudit, sessions: Sequence[AuditedSession]) -> None:
    """Raises NeverHeard once it is clear that the agent will not be heard: its entrypoint fails, or callers hear nothing."""
    if any(session.heard_s is not None for session in sessions):
        return
    reason = failed(running.place)
    if (reason is not None and reason.ended) or len(sessions) >= _SILENT_BEFORE_GIVING_UP:
        raise NeverHeard(f"never heard: {sessions[-1].silence}; its log is {running.place.log}")


def unseen(agent: RunningWorker) -> tuple[str, ...]:
    """Returns what the audit did to the agent's past jobs, one sentence; nothing where it did nothing."""
    if not (ended := len(agent.ended_jobs)):
        return ()
    them = agree(ended, "it", "them")
    return (f"{amount(ended, 'job')} computed on after the caller had left; the audit ended {them}.",)


def agent_facts(plan: Audit, place: AgentPlace, file: AgentFile) -> AgentFacts:
    """Returns what is known of an agent that was called by this plan, once it has been."""
    worker = _worker_fact(place)
    used = tuple(dict.fromkeys(name_of(fact["name"]) for fact in place.facts if fact["fact"] == "provider"))
    name: str = worker.get("agent_name", "")
    return AgentFacts(
        file=plan.file,
        python=file.python_version,
        livekit=file.livekit,
        dispatch=plan.dispatch,
        agent_name=None if name == place.environment["LIVEKIT_AGENT_NAME"] else name,
        idle_processes=worker.get("idle"),
        metadata=plan.metadata,
        simulated=() if plan.real else used,
        real=used if plan.real else (),
        not_simulated=refused(place),
        imports=file.imports,
    )
