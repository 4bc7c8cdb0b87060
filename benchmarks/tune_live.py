"""Whether the tuner, left alone, ramps a good flag and turns back a bad one: the service on a real stack, under real calls.

    python -m benchmarks.tune_live --output rehearsals/tune-live

LiveKit server, simulated providers, collector and Jaeger run on this machine, and two workers of one agent that follow one
flag file. Callers call without a pause. `firstword tune --watch --apply` reads Jaeger, and nobody types anything more: it is
tried on `no-change`, takes `deferred-setup` to 100 %, and turns `lazy-room-options` back, into which `benchmarks.planted`
has put half a second. Meanwhile it is disturbed. It is killed in the middle of a write; then two start at once; then the
way to Jaeger is shut; then the one that works is told to end, and the other takes over. Exits 1 where a flag moved
otherwise than up the steps or back, or where one moved without Jaeger. With `--steps 50,100` it takes 1,300 calls.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit import api

from benchmarks import killed_in_a_write, planted
from benchmarks.door import Door
from firstword.agent.flags.flag_file import FlagFileError, read
from firstword.agent.flags.improvements import DRAWN, NO_CHANGE, SUBJECTS, Improvement
from firstword.agent.flags.writer import begin
from firstword.command.tuner.flag_store import FileStore
from firstword.rehearsal.environment import Choice, own_store, running_servers
from firstword.rehearsal.files import data_file
from firstword.rehearsal.processes import ServerError, started
from firstword.rehearsal.rehearse import Rehearsal, RunningRehearsal, call
from firstword.rehearsal.result import LOGS, Session
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.workers import FLAGS, RunningWorker, running_worker
from firstword.tuning.rollout import Ladder
from firstword.tuning.trial import HALF

GOOD = Improvement.DEFERRED_SETUP
BAD = planted.FLAG
WORKERS = 2
IMPORTABLE = {"PYTHONPATH": str(Path(__file__).parents[1])}
"""For what imports `benchmarks` in a process whose folder is another one, and which takes no module from there."""
STAY_S = 0.3
"""After the first word, which is all that counts here."""
PATIENCE_S = 20.0
"""How long a caller waits: one whom no worker took leaves no trace, and decides nothing."""
LOOK_S = 0.1
"""Between two looks at the flag file."""
SHUT_LOOKS = 3
"""So many looks of the tuner find Jaeger away."""


class NotThrough(Exception):
    """A flag moved wrongly, or not at all; the message says how."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is run."""

    folder: Path
    steps: tuple[int, ...]
    minutes: float
    concurrency: int
    executor: str
    every_s: float
    """Of the tuner, between two looks."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A flag that moved, as the file shows it."""

    seconds: float
    """Since the callers began."""
    calls: int
    """Ended by then."""
    flag: str
    before: int
    to: int


@dataclass(slots=True)
class FollowedFile:
    """The flag file, read again and again as a worker reads it."""

    path: Path
    calls: Sequence[Session]
    say: Callable[[str], None]
    moves: list[Moved] = field(default_factory=list[Moved])
    faults: list[str] = field(default_factory=list[str])
    began: float = field(default_factory=time.monotonic)

    async def follow(self) -> None:
        """Notes each move until it is cancelled; a file that workers could not read is a fault."""
        shares = shares_of(self.path)
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                now = shares_of(self.path)
            except FlagFileError as error:
                self.faults.append(str(error))
                continue
            changed = [flag for flag in now if now[flag] != shares.get(flag, 0)]
            if len(changed) > 1:
                self.faults.append(f"{', '.join(changed)} moved at once")
            for flag in changed:
                self._note(flag, shares.get(flag, 0), now[flag])
            shares = now

    def _note(self, flag: str, before: int, to: int) -> None:
        seconds = time.monotonic() - self.began
        self.moves.append(Moved(seconds, len(self.calls), flag, before, to))
        reason = read(self.path, DRAWN).flags[flag].metadata.get("tune.reason", "")
        self.say(f"{seconds:>5.0f} s {len(self.calls):>5} calls  {flag}: {before} to {to} %; {reason}")

    def of(self, flag: str) -> list[int]:
        """Where the flag went, in order."""
        return [move.to for move in self.moves if move.flag == flag]


@dataclass(slots=True)
class RunningTuner:
    """A `firstword tune --watch --apply` that runs, and what it printed."""

    process: Process
    log: Path

    @property
    def looks(self) -> list[dict[str, Any]]:
        """One a look: the keys of `tune --json`, and `holding`."""
        lines = self.log.read_text(errors="replace").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    @property
    def holding(self) -> list[str | None]:
        """Why each look held; None where it did not."""
        return [look["holding"] and look["holding"]["reason"] for look in self.looks]

    async def end(self) -> None:
        """Tells it to end, as a platform does. Raises NotThrough where it ends otherwise than by that."""
        self.process.send_signal(signal.SIGTERM)
        if (code := await self.process.wait()) != 130:
            raise NotThrough(f"a tuner that was told to end ended with {code}; see {self.log}")


@dataclass(slots=True)
class Live:
    """What runs, and what has come of it."""

    options: Options
    stack: Stack
    door: Door
    file: FollowedFile
    workers: Sequence[RunningWorker]
    callers: Sequence[asyncio.Task[None]]
    say: Callable[[str], None]
    deadline: float
    """On `time.monotonic()`."""
    tuners: list[RunningTuner] = field(default_factory=list[RunningTuner])

    @contextlib.asynccontextmanager
    async def tuner(self, *through: str) -> AsyncGenerator[RunningTuner]:
        """Starts the service as one types it, or through another module; ends it on exit. Each has a log of its own."""
        log = self.options.folder / f"tuner-{len(self.tuners) + 1}.log"
        arguments = tune_command(self.options, self.door.url, self.file.path)
        command = (sys.executable, "-m", *(through or ("firstword",)), *arguments)
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": str(self.stack.otlp_endpoint), "PYTHONUNBUFFERED": "1", **IMPORTABLE}
        with log.open("wb") as output:
            async with started(command, told, output=output.fileno()) as process:
                self.tuners.append(RunningTuner(process, log))
                yield self.tuners[-1]

    def applied(self, flag: str) -> list[RunningTuner]:
        """Who says that it moved the flag, once a move."""
        return [tuner for tuner in self.tuners for look in tuner.looks if look["applied"] == flag]

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits for it. Raises NotThrough when the time is up, what a caller raised, and ServerError for a worker that ended."""
        while not holds():
            if time.monotonic() > self.deadline:
                raise NotThrough(f"the time is up, and not yet: {what}. Moves: {self.file.moves}")
            for caller in self.callers:
                if caller.done():
                    caller.result()
            await asyncio.sleep(LOOK_S)


Runs = Callable[[Options, Callable[[str], None]], AbstractAsyncContextManager[Live]]
"""Everything that it takes, for as long as a block runs."""


def tune_command(options: Options, jaeger: str, flags: Path) -> tuple[str, ...]:
    """What one types after `firstword`."""
    return (
        *("tune", "--watch", f"{options.every_s:g}", "--apply", "--json", "--jaeger", jaeger, "--flags", str(flags)),
        *("--steps", ",".join(map(str, options.steps))),
    )


def shares_of(path: Path) -> dict[str, int]:
    """Flag -> percent, as workers have it now. Raises FlagFileError."""
    return {name: flag.percent or 0 for name, flag in read(path, DRAWN).flags.items()}


def two_flags(path: Path) -> None:
    """Makes the flag file: the good flag and the bad one, both off. Of the bad one nobody says what it would save."""
    shipped = json.loads(data_file("deploy/flags.json").read_text())
    shipped["flags"] = {name: shipped["flags"][name] for name in (GOOD, BAD)}
    del shipped["flags"][BAD]["metadata"]["predicts"]
    source = path.with_name("shipped.json")
    source.write_text(json.dumps(shipped, indent=2))
    begin(path, source, SUBJECTS)


@contextlib.asynccontextmanager
async def live(options: Options, say: Callable[[str], None]) -> AsyncGenerator[Live]:
    """All that it takes, for as long as the block runs. Raises ServerError."""
    folder, flags = options.folder, options.folder / "flags.json"
    two_flags(flags)
    async with contextlib.AsyncExitStack() as running:
        logs = folder / "servers"
        stack = await running.enter_async_context(LocalStack(logs, jaeger=True))
        choice = Choice(stack, "its own", {"openai": None, "deepgram": None}, real=False)
        servers = await running.enter_async_context(running_servers(choice, logs))
        door = await running.enter_async_context(Door.to(str(stack.jaeger_url)))
        workers: list[RunningWorker] = []
        for number in range(1, WORKERS + 1):
            own = folder / f"worker-{number}"
            own.mkdir()
            environment = {
                **servers.variables,
                **own_store(choice, own, FLAGS),
                "FLAGD_OFFLINE_FLAG_SOURCE_PATH": str(flags.resolve()),
                "FIRSTWORD_EXECUTOR": options.executor,
                **IMPORTABLE,
                "FIRSTWORD_IDLE_PROCESSES": str(options.concurrency),
            }
            worker = running_worker(
                FLAGS,
                agent_name="tune-live",
                folder=own,
                stack=stack,
                environment=environment,
                entrypoint=Path(planted.__file__).with_name("planted_worker.py"),
            )
            workers.append(await running.enter_async_context(worker))
            await workers[-1].registered()
        rooms = await running.enter_async_context(api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret))
        plan = Rehearsal((), patience=PATIENCE_S, stay=STAY_S, hear_out=False, flags=flags)
        calls: list[Session] = []
        rehearsal = RunningRehearsal(stack, {FLAGS: workers[0]}, rooms, (), folder, voice_is_known=True)
        file = FollowedFile(flags, calls, say)
        callers = [
            asyncio.create_task(_call_again(plan, rehearsal, workers[0], calls)) for _ in range(options.concurrency)
        ]
        callers.append(asyncio.create_task(file.follow()))
        try:
            deadline = time.monotonic() + 60 * options.minutes
            yield Live(options, stack, door, file, workers, callers, say, deadline)
        finally:
            for each in callers:
                each.cancel()
            await asyncio.gather(*callers, return_exceptions=True)


async def _call_again(
    plan: Rehearsal, rehearsal: RunningRehearsal, worker: RunningWorker, calls: list[Session]
) -> None:
    """One call after the other, until it is cancelled. Whichever worker takes it: both have one agent name."""
    while True:
        await call(plan, rehearsal, worker, len(calls), calls)


async def perform(options: Options, say: Callable[[str], None] = print, run: Runs | None = None) -> Sequence[Moved]:
    """The whole of it; says each move as it comes, and returns them. Raises NotThrough, ServerError.

    run: what there is in place of `live`, such as sessions that nobody called.
    """
    ladder = Ladder(options.steps)
    kill_at = 2 + 2  # the trial has two moves; the good flag's second step is the one that is cut off
    async with (run or live)(options, say) as running:
        file = running.file
        say(f"$ firstword {' '.join(tune_command(options, running.door.url, file.path))}")
        async with running.tuner(killed_in_a_write.__name__, str(kill_at)) as first:
            await running.until(lambda: first.process.returncode is not None, "a tuner that is killed as it writes")
            _expect("the tuner that is killed ends by it", first.process.returncode, -signal.SIGKILL)
        _expect("what a killed tuner leaves", file.of(GOOD), [ladder.start])
        say(f"{'':>18}  killed as it wrote the next step; two are started at once")
        async with running.tuner() as second, running.tuner() as third:
            await running.until(lambda: len(second.looks) > 1 and len(third.looks) > 1, "two that look")
            await running.until(lambda: len(file.of(GOOD)) > 1, "the step that was cut off")
            (works, waits) = (second, third) if "standby" in third.holding else (third, second)
            await _without_jaeger(running, works)
            await running.until(lambda: file.of(GOOD)[-1:] == [100], f"{GOOD} at 100 %")
            await running.until(
                lambda: len(running.applied(GOOD)) == len(file.of(GOOD)), "a tuner that says what it did"
            )
            _expect("what the one that stands by did", set(waits.holding), {"standby"})
            await works.end()
            say(f"{'':>18}  the one that worked was told to end; the other takes over")
            await running.until(lambda: file.of(BAD)[-1:] == [0], f"{BAD} turned back")
            await running.until(lambda: len(running.applied(BAD)) == len(file.of(BAD)), "a tuner that says what it did")
            await waits.end()
        _judge(running, ladder)
        return file.moves


async def _without_jaeger(running: Live, works: RunningTuner) -> None:
    """Nobody answers at the tuner's address of Jaeger, for so many looks: it holds, and says why."""
    await running.door.shut()
    seen = len(works.looks)  # one that had read before may still write
    await running.until(lambda: "source" in works.holding[seen:], "a look without Jaeger")
    before = len(running.file.moves)
    await running.until(lambda: works.holding[seen:].count("source") >= SHUT_LOOKS, "looks without Jaeger")
    _expect("what moved without Jaeger", running.file.moves[before:], [])
    await running.door.open()
    running.say(f"{'':>18}  Jaeger was away for {SHUT_LOOKS} looks; {works.looks[-1]['holding']['words']}")


def _judge(running: Live, ladder: Ladder) -> None:
    file = running.file
    _expect("the file as workers read it", file.faults, [])
    _expect(f"where {NO_CHANGE} went", file.of(NO_CHANGE), [HALF, 0])
    _expect(f"where {GOOD} went", file.of(GOOD), list(ladder.shares))
    _expect(f"where {BAD} went", file.of(BAD), [ladder.start, 0])
    told = [(each.flag, each.percent, each.to) for each in FileStore(file.path).history() if each.flag]
    _expect("what the history has", told, [(move.flag, move.before, move.to) for move in file.moves])
    for flag in (NO_CHANGE, GOOD, BAD):
        _expect(f"how often a tuner says that it moved {flag}", len(running.applied(flag)), len(file.of(flag)))
    unheard = sum(session.heard_s is None for session in file.calls)
    running.say(f"{len(file.calls)} calls, {unheard} of them heard nothing.")
    if taken := [_jobs(running.options.folder / f"worker-{number + 1}") for number in range(len(running.workers))]:
        running.say(f"By worker: {' and '.join(map(str, taken))}.")
        _expect("which workers took no call", [number + 1 for number, jobs in enumerate(taken) if not jobs], [])


def _jobs(folder: Path) -> int:
    """How many jobs a worker took, by its log."""
    return (folder / LOGS / f"{FLAGS}.log").read_text(errors="replace").count('"received job request"')


def _expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise NotThrough(f"{what}: expected {expected}, found {found}")


def main() -> None:
    """Runs it, and says how it ended."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    if any(options.folder.iterdir()):
        sys.exit(f"--output {options.folder} is not empty; expected a new or empty folder")
    try:
        asyncio.run(perform(options))
    except (NotThrough, ServerError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _options() -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tune_live",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="a new or empty folder: flag file, logs, traces")
    parser.add_argument("--steps", default="5,25,50,100", help="of the tuner (5,25,50,100)")
    parser.add_argument("--minutes", type=float, default=120.0, help="give up after that (120)")
    parser.add_argument("--concurrency", type=int, default=4, help="callers at once (4)")
    parser.add_argument("--executor", default="process", choices=("process", "thread"), help="of the workers (process)")
    parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="between two looks (5)")
    typed = parser.parse_args()
    steps = tuple(map(int, typed.steps.split(",")))
    return Options(typed.output, steps, typed.minutes, typed.concurrency, typed.executor, typed.every)


if __name__ == "__main__":
    main()
