"""Runs the workers under rehearsal: each a process of its own, started LiveKit's way, known by what it logs.

It stands between the local servers and the callers. A worker is started here with an environment that the rehearsal
makes. Its log says when it is registered, and when it is at rest after a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import psutil

from firstword.rehearsal.past_jobs import LINGER_S, Computing
from firstword.rehearsal.processes import ServerFailed, started
from firstword.rehearsal.result import LOGS, TRACES
from firstword.rehearsal.stack import Stack

START = ("-P", "-m", "livekit.agents", "start")
"""Python's arguments before the file of a worker. With `-P`, which the processes of jobs inherit, no file in the folder
that the worker is started in hides a package of the same name."""
FLOOR = "floor"
FLAGS = "flags"
"""Name of the worker without a profile, which follows a flag file."""
REGISTER_S = 120.0
"""Seconds that a worker has to register. A cold one imports for seconds, and prepares its idle processes before that. On a
busy machine that takes a minute."""
REST_S = 15.0
"""Seconds that the pause between sessions may take, so that a process that never comes does not stop the rehearsal."""

_LOOK_EVERY_S = 0.05

# What a worker takes from the shell in a rehearsal too: it shapes the worker, and is neither a key nor an address.
_KEPT = frozenset(
    f"FIRSTWORD_{name}"
    for name in (
        *("EXECUTOR", "IDLE_PROCESSES", "START_TIMEOUT", "CALLER_TIMEOUT", "RETURN_GRACE", "SLOW"),
        *("ACCOUNT_DEADLINE", "CACHE_DEADLINE", "GREETING_DEADLINE", "SPEECH_DEADLINE", "STORE_DEADLINE"),
    )
)
_DROPPED_PREFIXES = ("LIVEKIT_", "OPENAI_", "DEEPGRAM_", "FIRSTWORD_", "FLAGD_", "OTEL_")
_DROPPED = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PYTHONDONTWRITEBYTECODE"})
"""Proxies, since all traffic is loopback's; and without bytecode each cold process would import for seconds longer."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """The state of a worker, as its log tells: whether it is registered, its jobs, and its processes."""

    registered: bool = False
    agent_name: str = ""
    """Agent name under which it registered; empty: each room gets it."""
    warmed: int = 0
    """Number of processes or threads made ready so far."""
    threads: bool = False
    """Whether jobs run in threads, whose end LiveKit does not log."""
    taken: int = 0
    """Number of jobs so far."""
    ended: frozenset[int] = field(default_factory=frozenset[int])
    """Process ids of the jobs that said goodbye, or ended without a word."""

    def after(self, line: str) -> WorkerState:
        """Returns the state after one more line of the log; a line that isn't LiveKit's JSON changes nothing."""
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            return self
        match record:
            case {"message": "registered worker"}:
                return replace(self, registered=True, agent_name=record.get("agent_name", ""))
            case {"message": "process initialized"}:
                return replace(self, warmed=self.warmed + 1)
            case {"message": "job runner initialized"}:
                return replace(self, warmed=self.warmed + 1, threads=True)
            case {"message": "received job request"}:
                return replace(self, taken=self.taken + 1)
            case {"message": "process exiting", "pid": int(pid)}:
                return replace(self, ended=self.ended | {pid})
            case {"message": str(text), "pid": int(pid)} if text.startswith("process exited with non-zero"):
                return replace(self, ended=self.ended | {pid})
            case _:
                return self


class RunningWorker:
    """A LiveKit worker that runs as a process; `logged_worker` makes it."""

    def __init__(
        self, profile: str, process: Process, log: Path, *, jobs: Callable[[], Collection[int]] | None = None
    ) -> None:
        """jobs: gives the process ids of all jobs so far, of a worker whose past jobs may linger (`past_jobs.py`)."""
        self.profile = profile
        self.ended_jobs: frozenset[int] = frozenset()
        """Process ids of past jobs that computed on and were ended."""
        self._process = process
        self._log = log
        self._jobs = jobs
        self._read = 0
        self._state = WorkerState()
        self._idle = 0

    @property
    def agent_name(self) -> str:
        """Returns the name by which callers get its agent; empty until it is registered, and where the agent has none."""
        return self._state.agent_name

    @property
    def pid(self) -> int:
        """Returns the process id of the worker's main process."""
        return self._process.pid

    async def registered(self) -> None:
        """Waits until LiveKit knows the worker; its idle processes are ready by then. Raises ServerFailed."""
        if not await self._until(lambda now: now.registered, REGISTER_S):
            raise ServerFailed(
                f"the worker of {self.profile} did not register within {REGISTER_S:g} s; see {self._log}"
            )
        self._idle = self._state.warmed

    async def at_rest(self, within: float = REST_S) -> bool:
        """Waits until the processes of past jobs are gone, and their replacements ready.

        Where past jobs may linger, those that compute nothing need not be gone, and those that compute on are ended
        after `LINGER_S` seconds. Returns True, or False if it takes `within` seconds more. Raises ServerFailed when the
        worker itself is gone.
        """
        computing = Computing(self.pid)

        def at_rest(now: WorkerState) -> bool:
            replaced = now.warmed - now.taken >= self._idle
            gone = now.threads or (len(now.ended) >= now.taken and not any(map(psutil.pid_exists, now.ended)))
            quiet = self._jobs is not None and computing.is_quiet()
            return replaced and (gone or quiet)

        jobs = self._jobs
        if jobs is None:
            return await self._until(at_rest, within)

        def at_rest_at_last(now: WorkerState) -> bool:
            self.ended_jobs |= computing.end_busy(jobs())
            return at_rest(now)

        return await self._until(at_rest, LINGER_S) or await self._until(at_rest_at_last, within)

    async def exited(self) -> int:
        """Waits until the worker is gone. Returns its exit code; minus the signal's number if a signal ended it."""
        return await self._process.wait()

    async def ended(self) -> NoReturn:
        """Waits until the worker is gone, then raises ServerFailed with its last words. Never returns."""
        await self._process.wait()
        raise ServerFailed(self._last_words())

    async def _until(self, reached: Callable[[WorkerState], bool], within: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not reached(self._look()):
                    if self._process.returncode is not None:
                        raise ServerFailed(self._last_words())
                    await asyncio.sleep(_LOOK_EVERY_S)
                return True
        return False

    def _look(self) -> WorkerState:
        """Read on in the log, whole lines only."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._state = self._state.after(line)
        return self._state

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-5:]
        ended = f"the worker of {self.profile} ended (exit code {self._process.returncode}); {self._log} ends with:"
        return "\n  ".join((ended, *(line[:300] for line in lines)))


@contextlib.asynccontextmanager
async def running_worker(
    profile: str,
    *,
    agent_name: str,
    folder: Path,
    stack: Stack,
    environment: Mapping[str, str],
    real: bool = False,
    entrypoint: Path | None = None,
    python: Path = Path(sys.executable),
) -> AsyncGenerator[RunningWorker]:
    """Runs the worker of `profile` (`floor`, `flags`, `baseline`, `tuned`, flags by name) and ends it on exit.

    `folder` gets `logs/PROFILE.log`, `traces/PROFILE/` and, as XDG_CACHE_HOME, a cache that no other worker shares.
    `environment` says where the providers, the store and the flag file are. Nothing else that names a server or a key
    comes from the shell, unless `real`. `entrypoint`: the file that has the `server`, instead of the profile's own.
    `python`: the interpreter that runs it, of an environment of its own. The worker may not be registered yet. Raises
    OSError.
    """
    log, traces, cache = folder / LOGS / f"{profile}.log", folder / TRACES / profile, folder / "cache" / profile
    for path in (log.parent, traces, cache):
        path.mkdir(parents=True, exist_ok=True)
    given = {
        "LIVEKIT_URL": stack.livekit_url,
        "LIVEKIT_API_KEY": stack.api_key,
        "LIVEKIT_API_SECRET": stack.api_secret,
        "FIRSTWORD_AGENT_NAME": agent_name,
        "FIRSTWORD_ACCOUNT_SOURCES": "metadata,attribute,caller-id",  # the tokens here are made by the rehearsal itself
        **({} if profile == FLAGS else {"FIRSTWORD_PROFILE": profile}),
        "FIRSTWORD_FIXED_LOAD": "0.1",  # a busy small machine would declare itself full
        "FIRSTWORD_HTTP_PORT": "0",
        "FIRSTWORD_TRACES": str(traces.resolve()),
        "XDG_CACHE_HOME": str(cache.resolve()),
        **environment,
    }
    dropped = {"PYTHONDONTWRITEBYTECODE"} if real else dropped_variables(os.environ)
    server = entrypoint or worker_file(profile)
    command = (*without(dropped, given), str(python), *START, str(server))
    # Outside of the rehearsal's folder an `.env.local` of the user's would be read.
    place = None if real else folder
    async with logged_worker(profile, command, given, log=log, folder=place) as worker:
        yield worker


@contextlib.asynccontextmanager
async def logged_worker(
    profile: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    log: Path,
    folder: Path | None,
    jobs: Callable[[], Collection[int]] | None = None,
) -> AsyncGenerator[RunningWorker]:
    """Runs one of LiveKit's workers in `folder`, whose output is LiveKit's JSON, and ends it on exit.

    `environment` is on top of ours; `profile` is what errors call it. `jobs` is as in `RunningWorker`. Raises OSError.
    """
    with log.open("ab") as output:
        async with started(command, environment, output=output.fileno(), folder=folder) as process:
            yield RunningWorker(profile, process, log, jobs=jobs)


def dropped_variables(environment: Iterable[str]) -> set[str]:
    """Returns those names of `environment` that a worker in a rehearsal must not see: keys and addresses of the shell."""
    return {
        name
        for name in environment
        if name.upper() not in _KEPT and (name.upper() in _DROPPED or name.upper().startswith(_DROPPED_PREFIXES))
    }


def without(names: Iterable[str], given: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the command prefix that runs a program without these variables of ours, which children otherwise inherit.

    given: what the program's environment has on top of ours. It stays, also where one of ours has its name.
    """
    return ("env", *(part for name in sorted(set(names) - given.keys()) for part in ("-u", name)))


def worker_file(profile: str) -> Path:
    """Returns the file that LiveKit is told to start for a profile.

    It lies in no package: LiveKit puts the folder that holds a file's outermost package on `sys.path`, where ours would
    hide a user's own `agent.py`. In a wheel it is package data. Raises FileNotFoundError.
    """
    name, file = ("firstword.rehearsal", "floor.py") if profile == FLOOR else ("firstword.agent", "worker.py")
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {name} is not installed")
    package = Path(spec.origin).parent
    packaged = package / "data" / file
    return packaged if packaged.exists() else package.parents[1] / file
