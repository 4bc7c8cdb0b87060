"""Runs a rehearsal: profiles side by side in one run, session by session, with callers who listen.

The order turns with each round, so that no profile always goes first. Callers who call at once are of one profile, so
that a profile competes with itself only. Between sessions the machine comes to rest: all processes of the last session
gone, their replacements ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from platform import python_version

from livekit import api, rtc

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import GENERIC, Account, GreetingFields
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.together import together
from firstword.rehearsal.agent_file import BadAgent
from firstword.rehearsal.agent_process import AGENT, look_at, place_agent, running_agent
from firstword.rehearsal.alignment import Samples
from firstword.rehearsal.calls import calling
from firstword.rehearsal.environment import Choice, own_store, running_servers, store_file
from firstword.rehearsal.first_heard import first_heard
from firstword.rehearsal.missed import missed_of_greeting, missed_of_tone
from firstword.rehearsal.result import LOGS, TRACES, ProfileFigures, Result, Session, figures, read_starts
from firstword.rehearsal.servers import LIVEKIT, Progress
from firstword.rehearsal.stack import Stack
from firstword.rehearsal.workers import FLAGS, FLOOR, RunningWorker, running_worker
from firstword.telemetry.record import Dispatch

PACKAGES = ("firstword", "livekit-agents", "livekit", "opentelemetry-sdk")
"""Packages whose versions a result names."""
AT_ONCE = os.cpu_count() or 1
"""Number of workers that are warmed at the same time. With fewer cores, imports take longer than LiveKit gives a process to initialize."""
_PAUSE_S = 0.6
"""Silence after which a greeting is over; between its sentences there is less."""
_LONGEST_GREETING_S = 30.0
"""A bound: an agent that never stops talking is hung up on."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The plan of a rehearsal: what is rehearsed, and how it is called. Times are in seconds."""

    profiles: Sequence[str] = ("baseline", "tuned")
    """Profiles that are rehearsed beside the floor, which always runs."""
    sessions: int = 20
    """Number of sessions of each profile."""
    dispatch: Dispatch = Dispatch.JOIN
    ahead_by: float = 3.0
    """With dispatch `ahead`: how long the job comes before the caller."""
    concurrency: int = 1
    """Number of callers at once."""
    rate: float | None = None
    """Sessions a second at most."""
    patience: float = 20.0
    """How long a caller waits to hear something."""
    stay: float = 2.0
    """How long a caller stays after they heard something, so that the deferred set-up ends."""
    hear_out: bool = True
    """Whether a caller stays until the greeting is over, too. What they missed of it is then computed between the sessions."""
    flags: Path | None = None
    """A flag file, and one worker more, `flags`, that follows it. Its jobs name no account, so each session is a draw."""
    strangers: bool = False
    """Each caller has an account that has never called: a worker has neither read nor greeted it before. Not of `flags`."""
    agent: Path | None = None
    """The file of another agent, an absolute path: one worker more, `agent`, that runs it as `firstword audit` does."""

    @property
    def workers(self) -> tuple[str, ...]:
        """Returns the profiles of all workers: the floor, those named, the one that follows the flag file, and the other agent."""
        return (FLOOR, *self.profiles, *([FLAGS] if self.flags else []), *([AGENT] if self.agent else []))


@dataclass(frozen=True, slots=True)
class Group:
    """Callers who call at once, all of one profile."""

    profile: str
    first: int
    """Number of its first session among its profile's: every profile is called by the same accounts in the same order."""
    size: int


def groups(plan: Rehearsal) -> Iterator[Group]:
    """Yields the groups of a rehearsal in the order in which they call: each round every profile once, each round turned by one."""
    profiles = plan.workers
    for number, done in enumerate(range(0, plan.sessions, plan.concurrency)):
        size = min(plan.concurrency, plan.sessions - done)
        turn = number % len(profiles)
        for profile in (*profiles[turn:], *profiles[:turn]):
            yield Group(profile, done, size)


async def rehearse(
    plan: Rehearsal, choice: Choice, folder: Path, *, report: Callable[[Progress], None] = lambda _: None
) -> Result:
    """Runs the rehearsal with its logs and traces in `folder`, and returns its result. `report` hears how it goes.

    Cancelled once (Ctrl-C), it ends everything it started and returns what there is, `interrupted`. Raises ServerError
    where no server, simulator or worker can be had.
    """
    sessions: list[Session] = []
    interrupted = False
    try:
        async with _running_rehearsal(plan, choice, folder, report) as running:
            await _perform(plan, running, sessions, report)
    except asyncio.CancelledError:
        interrupted = True
    return Result(
        profiles={profile: _figures(profile, sessions, folder) for profile in plan.workers},
        dispatch=plan.dispatch,
        providers={name: url or "simulated" for name, url in choice.providers.items()},
        versions=versions(),
        sessions=sessions,
        interrupted=interrupted,
    )


@dataclass(frozen=True, slots=True)
class RunningRehearsal:
    """Everything that runs during a rehearsal, and the accounts that call."""

    stack: Stack
    workers: Mapping[str, RunningWorker]
    rooms: api.LiveKitAPI
    accounts: Sequence[Account]
    """Accounts that call, in turn: callers come back. Empty with real providers, where the store is the user's: then
    the jobs name nobody."""
    folder: Path
    """The rehearsal's folder, with the workers' stores."""
    voice_is_known: bool
    """Whether the TTS is simulated, so that what there is to say is known sample by sample."""


@dataclass(frozen=True, slots=True)
class _Recording:
    """What a caller heard, until it is compared with what there was to say."""

    session: Session
    account: GreetingFields
    began: float
    """Unix time, seconds."""
    heard: Samples

    def compared(self) -> Session:
        """The session, with what was missing."""
        if self.session.profile == FLOOR:
            return replace(self.session, missing=missed_of_tone(self.heard))
        return replace(self.session, missing=missed_of_greeting(self.account, self.began, self.heard))


@contextlib.asynccontextmanager
async def _running_rehearsal(
    plan: Rehearsal, choice: Choice, folder: Path, report: Callable[[Progress], None]
) -> AsyncGenerator[RunningRehearsal]:
    """Servers, simulators and a registered worker a profile, for as long as the rehearsal runs."""
    logs = folder / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as everything:
        report(Progress("starting the servers"))
        servers = await everything.enter_async_context(running_servers(choice, logs, report=report))
        run = secrets.token_hex(3)
        # One for each caller at least: cold processes would drown what is measured, and the worker would decline jobs.
        idle = {"FIRSTWORD_IDLE_PROCESSES": os.environ.get("FIRSTWORD_IDLE_PROCESSES") or str(max(2, plan.concurrency))}
        workers: dict[str, RunningWorker] = {}
        warming: list[RunningWorker] = []
        for done, profile in enumerate(plan.workers):
            if len(warming) == AT_ONCE:
                await warming.pop(0).registered()
            report(Progress(f"warming the worker of {profile}", done, len(plan.workers)))
            if profile == AGENT and plan.agent is not None:
                if servers.simulators is None and not choice.real:
                    raise BadAgent("--agent runs with all providers simulated; expected no address of one in the shell")
                simulated = None if choice.real else servers.simulators
                agent = place_agent(
                    plan.agent, Path(sys.executable), plan.agent.parent, folder, servers.stack, simulated
                )
                workers[profile] = await everything.enter_async_context(running_agent(agent, await look_at(agent)))
                continue
            worker = running_worker(
                profile,
                agent_name=f"rehearsal-{run}-{done}",
                folder=folder,
                stack=servers.stack,
                environment={
                    **servers.variables,
                    **own_store(choice, folder, profile),
                    **idle,
                    **_flag_file(plan, profile),
                },
                real=choice.real,
            )
            workers[profile] = await everything.enter_async_context(worker)
            warming.append(workers[profile])
        for each in warming:
            await each.registered()
        stack = servers.stack
        rooms = api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret)
        # The example accounts are in the rehearsal's own stores, not in the user's.
        accounts = () if choice.real else ACCOUNTS
        known = choice.providers["deepgram"] is None
        yield RunningRehearsal(stack, workers, await everything.enter_async_context(rooms), accounts, folder, known)


def _flag_file(plan: Rehearsal, profile: str) -> dict[str, str]:
    followed = plan.flags if profile == FLAGS else None
    return {"FLAGD_OFFLINE_FLAG_SOURCE_PATH": str(followed.resolve())} if followed else {}


async def _perform(
    plan: Rehearsal, running: RunningRehearsal, sessions: list[Session], report: Callable[[Progress], None]
) -> None:
    """Group after group; each session goes into `sessions` as it ends."""
    total = plan.sessions * len(running.workers)
    began = 0.0
    for group in groups(plan):
        worker = running.workers[group.profile]
        for each in running.workers.values():
            await each.at_rest()
        if plan.rate:
            await asyncio.sleep(began - time.monotonic())
            began = time.monotonic() + group.size / plan.rate
        report(Progress(f"session {len(sessions) + 1} of {total}: {group.profile}", len(sessions), total))
        numbers = range(group.first, group.first + group.size)
        recordings = await together(*(call(plan, running, worker, number, sessions) for number in numbers))
        for recording in filter(None, recordings):  # while nobody listens
            sessions[sessions.index(recording.session)] = await asyncio.to_thread(recording.compared)
        report(Progress(f"session {len(sessions)} of {total}: {group.profile}", len(sessions), total))
    # What a worker has not written yet is written as the last processes end.
    report(Progress("waiting for the last traces", total, total))
    for each in running.workers.values():
        await each.at_rest()


async def call(
    plan: Rehearsal, running: RunningRehearsal, worker: RunningWorker, number: int, sessions: list[Session]
) -> _Recording | None:
    """Makes one call: connects, listens, stays a little, hangs up. Appends the session to `sessions` as it ends.

    `number` says whose call it is. Returns what was heard, where that can be compared with what there was to say; else
    None.
    """
    began, compares = time.time(), plan.hear_out and running.voice_is_known and worker.profile != AGENT
    room = f"{worker.agent_name}-{secrets.token_hex(4)}"
    account = await _whose(plan, running, worker, number)
    metadata = json.dumps({"account": account.id}) if account.id else ""
    ahead_by = plan.ahead_by if plan.dispatch is Dispatch.AHEAD else None
    call = calling(
        running.stack,
        running.rooms,
        room=room,
        agent_name=worker.agent_name,
        metadata=metadata,
        ahead_by=ahead_by,
        record=compares,
    )
    sid = heard = error = None
    async with call as caller:
        try:
            await caller.connect()
            sid = await caller.room.sid
            if worker.profile == AGENT:
                heard = (await first_heard(caller, plan.patience)).seconds
            else:
                heard = await caller.hear(plan.patience)
            await asyncio.sleep(plan.stay)
            if compares:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LONGEST_GREETING_S):
                        await caller.hear_out(_PAUSE_S)
        except TimeoutError:
            error = f"nothing heard within {plan.patience:g} s"
        except rtc.ConnectError as refused:
            error = f"not connected: {refused.message}"
    session = Session(worker.profile, room, sid, heard, error)
    sessions.append(session)
    return _Recording(session, account, began, caller.voice()) if compares and heard is not None else None


async def _whose(plan: Rehearsal, running: RunningRehearsal, worker: RunningWorker, number: int) -> Account:
    """Whose call it is; the generic account where the job names none. A stranger is written into the worker's store now: it is read ahead otherwise.

    Where flags are drawn they would be drawn by account, and a few accounts that call in turn are a few draws.
    """
    if not running.accounts or worker.profile in (FLAGS, AGENT):
        return GENERIC
    account = running.accounts[number % len(running.accounts)]
    if plan.strangers and worker.profile != FLOOR:
        account = replace(account, id=f"stranger-{number}")
        store = SQLStore(f"sqlite+aiosqlite:///{store_file(running.folder, worker.profile)}")
        try:
            await store.save(account)
        finally:
            await store.aclose()
    return account


def _figures(profile: str, sessions: Sequence[Session], folder: Path) -> ProfileFigures:
    starts = None if profile == FLOOR else read_starts(folder / TRACES / profile)
    return figures([session for session in sessions if session.profile == profile], starts)


def versions() -> dict[str, str]:
    """Returns the versions of Python, of the packages that matter to a start, and of the LiveKit server that is started here."""
    packages = {name: metadata.version(name) for name in PACKAGES}
    return {"python": python_version(), **packages, LIVEKIT.name: LIVEKIT.version.removeprefix("v")}
