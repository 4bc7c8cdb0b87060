"""Runs a user's agent as a process: their own file, in their own Python, started as LiveKit starts it, beside local
servers.

Nothing of the agent is changed. Its environment leads it to this machine. A folder on its path observes its starts,
writes down what it uses, and holds it to the local server (`firstword.rehearsal.agent_side`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from dotenv import dotenv_values

from firstword.rehearsal import agent_side
from firstword.rehearsal.agent_file import AgentFile, BadAgent, probe
from firstword.rehearsal.agent_log import Failure, complaint, failure, shown_path
from firstword.rehearsal.agent_side.facts import read_facts
from firstword.rehearsal.agent_side.probe import AT_START
from firstword.rehearsal.agent_side.settings import VARIABLE, AuditSettings
from firstword.rehearsal.processes import ServerFailed
from firstword.rehearsal.result import LOGS, TRACES
from firstword.rehearsal.simulated_providers import SIMULATED, constants, defaults, name_of, variables
from firstword.rehearsal.stack import Stack
from firstword.rehearsal.workers import RunningWorker, logged_worker, without
from firstword.telemetry.observe_folder import observing, write_observe_folder
from firstword.telemetry.observed_export import TRACES as TRACES_VARIABLE

T = TypeVar("T")

AGENT = "agent"
"""Name of the agent's worker, where others have the name of a profile."""
_DROPPED = ("LIVEKIT_", "FIRSTWORD_")
_INFERENCE = ("LIVEKIT_INFERENCE_URL", "LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_INFERENCE_API_SECRET")
_BYTECODE = "PYTHONDONTWRITEBYTECODE"
_LOOK_EVERY_S = 0.5
_LOCALHOST = "127.0.0.1,localhost"
_CLOUD_KEYS: Final = {
    "LIVEKIT_INFERENCE_API_KEY": ("LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_API_KEY"),
    "LIVEKIT_INFERENCE_API_SECRET": ("LIVEKIT_INFERENCE_API_SECRET", "LIVEKIT_API_SECRET"),
}
"""With real providers LiveKit Inference is called with the user's key, while the agent's room is on this machine."""


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """Where and how an agent runs: its file, Python, folder, environment, and the audit's folder."""

    file: Path
    """The agent's file, an absolute path; so are `python` and `folder`."""
    python: Path
    folder: Path
    environment: Mapping[str, str]
    without: tuple[str, ...]
    """Prefix of the agent's commands, which drops variables of the shell."""
    audit: Path
    """The audit's folder."""

    @property
    def log(self) -> Path:
        """Returns the path of the agent's log."""
        return self.audit / LOGS / f"{AGENT}.log"

    @property
    def traces(self) -> Path:
        """Returns the folder into which the agent's starts are written, as OTLP JSON lines."""
        return self.audit / TRACES / AGENT

    @property
    def facts(self) -> list[dict[str, Any]]:
        """Returns the facts that the agent's processes wrote down so far."""
        return read_facts(self.audit / "facts.jsonl")


def place_agent(
    file: Path, python: Path, folder: Path, audit: Path, stack: Stack, addresses: Mapping[str, str] | None
) -> AgentPlace:
    """Writes what observes the agent into the audit's folder, and returns how the agent is run there. Raises OSError.

    addresses: those of the simulators; None for real providers.
    """
    audit = audit.resolve()
    observe = audit / "observe"
    write_observe_folder(observe, beside=(Path(agent_side.__file__).parent,))
    place = AgentPlace(file, python, folder, {}, (), audit)
    for path in (place.log.parent, place.traces):
        path.mkdir(parents=True, exist_ok=True)
    real = addresses is None
    led = {
        "LIVEKIT_URL": stack.livekit_url,
        "LIVEKIT_API_KEY": stack.api_key,
        "LIVEKIT_API_SECRET": stack.api_secret,
        **(_cloud_keys(folder) if addresses is None else variables(addresses, os.environ)),
    }
    settings = AuditSettings(
        facts=str(audit / "facts.jsonl"),
        environment=led,
        defaults={} if addresses is None else defaults(addresses),
        constants={} if addresses is None else constants(addresses),
        simulated=tuple(SIMULATED),
        real=real,
    )
    proxied = ",".join(filter(None, (os.environ.get("NO_PROXY"), _LOCALHOST)))
    environment = {
        **led,
        "LIVEKIT_AGENT_NAME": f"audit-{secrets.token_hex(3)}",  # of an agent without a name, who would come to the floor's callers too
        TRACES_VARIABLE: str(place.traces),
        VARIABLE: settings.as_json(),
        "NO_PROXY": proxied,
        "no_proxy": proxied,
    }
    path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    kept = _INFERENCE if real else ()
    dropped = {name for name in os.environ if name.startswith(_DROPPED) and name not in kept} | {_BYTECODE}
    return AgentPlace(
        file,
        python,
        folder,
        observing({**path, **environment}, observe, at_start=AT_START),
        without(dropped, environment),
        audit,
    )


def _cloud_keys(folder: Path) -> dict[str, str]:
    """The user's key of LiveKit Cloud, from the shell or a file beside the agent."""
    known: dict[str, str | None] = {}
    for name in (".env", ".env.local"):
        known |= dotenv_values(folder / name)
    known |= os.environ
    found: dict[str, str] = {}
    for name, names in _CLOUD_KEYS.items():
        if value := next(filter(None, (known.get(each) for each in names)), None):
            found[name] = value
    return found


async def look_at(place: AgentPlace) -> AgentFile:
    """Imports the agent's file once, and returns how it is run. Raises BadAgent."""
    answer = place.audit / LOGS / "probe.json"
    try:
        return await probe(place.file, place.python, place.folder, place.environment, answer, place.without)
    except BadAgent:
        for said in refused(place).values():
            raise BadAgent(said) from None
        raise


@contextlib.asynccontextmanager
async def running_agent(place: AgentPlace, file: AgentFile) -> AsyncGenerator[RunningWorker]:
    """Runs the agent's worker, registered on entry, and ends it on exit. Raises BadAgent where it ends before that, or
    is not registered within `workers.REGISTER_S` seconds.
    """
    command = (*place.without, *file.command)
    async with logged_worker(
        AGENT, command, place.environment, log=place.log, folder=place.folder, jobs=lambda: _jobs(place)
    ) as worker:
        try:
            await unless_it_fails(place, 0, worker.registered())
        except ServerFailed as error:
            raise BadAgent(str(failed(place) or str(error).partition("\n")[0])) from None
        yield worker


def _jobs(place: AgentPlace) -> list[int]:
    """Process ids of the agent's jobs so far."""
    return [fact["pid"] for fact in place.facts if fact["fact"] == "job"]


async def unless_it_fails(place: AgentPlace, since: int, work: Coroutine[Any, Any, T]) -> T:
    """Returns what `work` brings. Raises BadAgent, and cancels it, as soon as the agent fails.

    since: the byte of the agent's log from which on a failure counts.
    """
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_EVERY_S)
            reason = failed(place, since)
            if not task.done() and reason is not None and reason.ended:
                raise BadAgent(str(reason))
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def failed(place: AgentPlace, since: int = 0) -> Failure | None:
    """Returns why the agent failed, as its log tells from the byte `since` on; None where it tells of no exception."""
    return failure(_log(place, since), place.folder)


def refused(place: AgentPlace) -> dict[str, str]:
    """Returns provider -> one line, for each provider that the agent would have called and may not: where, and what to do."""
    found: dict[str, str] = {}
    for fact in place.facts:
        if fact["fact"] == "refused":
            where = f"{shown_path(Path(fact['place']))}:{fact['line']}: " if fact["place"] else ""
            name = name_of(fact["name"])
            found[name] = (
                f"{where}{name} is not simulated; expected --real, which calls it with your key, or another provider"
            )
    return found


def why_silent(place: AgentPlace, since: int = 0) -> str:
    """Returns one line that says why an agent was not heard, as far as the byte `since` of its log and what follows tell."""
    for said in refused(place).values():
        return said
    if reason := failed(place, since):
        return str(reason)
    warned = complaint(_log(place, since))
    return f"the agent says: {warned}" if warned else "the agent neither spoke nor complained"


def _log(place: AgentPlace, since: int) -> str:
    try:
        with place.log.open("rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
