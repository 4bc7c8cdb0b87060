"""Whether traces alone ramp a good flag and turn back a bad one: `firstword tune --apply` on a real stack, with real calls.

    python -m benchmarks.tune_live --output rehearsals/tune-live

LiveKit server, simulated providers, collector and Jaeger run on this machine; one worker follows a copy of the flag file in
which all is off. Callers call it in rounds. First `deferred-setup` is set to 50 % by hand, and after each round the command
looks at Jaeger until it has taken the flag to 100 %; then `lazy-room-options`, into which `benchmarks.planted` has put half
a second, is set to 50 %, until the command has turned it back. The worker is never restarted. Exits 1 where it ends otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import sys
import textwrap
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from livekit import api
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from benchmarks import planted
from firstword.agent.flags.flag_file import read
from firstword.agent.flags.improvements import SUBJECTS, Improvement
from firstword.agent.flags.writer import FlagFileWriter, Move, begin
from firstword.rehearsal.environment import Choice, own_store, running_servers
from firstword.rehearsal.files import data_file
from firstword.rehearsal.processes import ServerError, started
from firstword.rehearsal.rehearse import Rehearsal, RunningRehearsal, call
from firstword.rehearsal.result import Quantiles, Session
from firstword.rehearsal.servers import Progress
from firstword.rehearsal.stack import LocalStack
from firstword.rehearsal.workers import FLAGS, RunningWorker, running_worker
from firstword.tuning.jaeger import Jaeger
from firstword.tuning.observation import Observation, observation
from firstword.tuning.sources import Query, SourceError

GOOD = Improvement.DEFERRED_SETUP
BAD = planted.FLAG
HALF = 50
STAY_S = 0.3
"""After the first word, which is all that counts here."""
TRACES_S = 15.0
"""How long the last traces of a round may take to Jaeger."""
WIDTH = 78
MARK_S, LONGEST_S = 0.05, 1.6
"""What a mark of a bar stands for, and the longest bar."""


class NotThrough(Exception):
    """The flags did not end where they should; the message says how."""


@dataclass(frozen=True, slots=True)
class Round:
    """Sessions with one flag file, as Jaeger has them."""

    number: int
    shares: Mapping[str, int]
    """Flag -> percent, in the file that the round began with."""
    sessions: int
    ttfw: Quantiles

    @property
    def row(self) -> str:
        """A line of the table, with a bar as long as p50."""
        good, bad, p50, p90 = self.shares[GOOD], self.shares[BAD], self.ttfw.p50, self.ttfw.p90
        bar = "#" * round(min(p50, LONGEST_S) / MARK_S)
        return f"{self.number:>5} {self.sessions:>9} {good:>5} % {bad:>4} % {p50:>6.2f} {p90:>6.2f}  {bar}"


HEAD = "round  sessions    good    bad    p50    p90"


@dataclass(slots=True)
class Live:
    """What runs, and what has come of it."""

    rehearsal: RunningRehearsal
    worker: RunningWorker
    jaeger: str
    flags: Path
    plan: Rehearsal
    bar: Bar
    say: Callable[[str], None]
    deadline: float
    """On `time.monotonic()`; no round begins after it."""
    rounds: list[Round] = field(default_factory=list[Round])
    calls: list[Session] = field(default_factory=list[Session])

    async def round(self) -> None:
        """Let the callers of one round call, and wait until Jaeger has what their sessions said. Raises NotThrough."""
        if time.monotonic() > self.deadline:
            raise NotThrough("the time is up")
        shares, began = percents(self.flags), time.time_ns()
        row = self.bar.add_task(f"round {len(self.rounds) + 1}", total=self.plan.sessions)
        numbers = iter(range(self.plan.sessions))
        async with asyncio.TaskGroup() as callers:
            for _ in range(self.plan.concurrency):
                callers.create_task(self._call(numbers, lambda: self.bar.advance(row)))
        await self.worker.at_rest()
        found = await self._in_jaeger(began)
        self.bar.remove_task(row)
        seconds = Quantiles.of([start.ttfw for start in found])
        if seconds is None:
            raise NotThrough("none of the round's sessions came to Jaeger")
        self.rounds.append(Round(len(self.rounds) + 1, shares, len(found), seconds))
        self.say(self.rounds[-1].row)

    async def _call(self, numbers: Iterator[int], done: Callable[[], None]) -> None:
        for number in numbers:
            await call(self.plan, self.rehearsal, self.worker, number, self.calls)
            done()

    async def _in_jaeger(self, began: int) -> list[Observation]:
        """The round's starts: all of them, or those that came in time."""
        source, until = Jaeger(self.jaeger), time.monotonic() + TRACES_S
        query = Query(since_ns=began, limit=self.plan.sessions)
        while True:
            found = await asyncio.to_thread(_starts, source, query)
            if len(found) == self.plan.sessions or time.monotonic() > until:
                return found
            await asyncio.sleep(0.5)

    async def tune(self) -> None:
        """The command, as one would type it; says what it says of the flag that moves."""
        command = tune_command(self.jaeger, self.flags)
        async with started((sys.executable, "-m", *command), {"COLUMNS": "200"}) as process:
            output = (await process.communicate())[0].decode()
        if process.returncode:
            raise NotThrough(f"{' '.join(command)} ended with {process.returncode}:\n{output}")
        sentence = output.rpartition("\n\n")[2].splitlines()[0]
        self.say(textwrap.fill(sentence, WIDTH, initial_indent="      ", subsequent_indent="      "))

    async def until_moved(self, flag: str, to: int) -> None:
        """Set the flag to half of the sessions; then rounds and looks until it moves, to where it should."""
        FlagFileWriter(self.flags, SUBJECTS).write((Move(flag, HALF, "by hand", time.time()),))
        self.say(f"      {flag}: set to {HALF} % by hand")
        while (percent := percents(self.flags)[flag]) == HALF:
            await self.round()
            await self.tune()
        if percent != to:
            raise NotThrough(f"{flag} went to {percent} %, not to {to} %")


def tune_command(jaeger: str, flags: Path) -> tuple[str, ...]:
    """What one would type."""
    return ("firstword", "tune", "--apply", "--jaeger", jaeger, "--flags", str(flags))


def percents(flags: Path) -> dict[str, int]:
    """Flag -> percent, as the file has it now."""
    return {name: flag.percent or 0 for name, flag in read(flags, SUBJECTS).flags.items()}


def _starts(source: Jaeger, query: Query) -> list[Observation]:
    try:
        found: Iterable[Observation | None] = [observation(trace) for trace in source.traces(query, lambda _: None)]
    except SourceError:  # it has heard of no service yet
        return []
    return [start for start in found if start is not None]


@contextlib.asynccontextmanager
async def live(options: argparse.Namespace, bar: Bar, say: Callable[[str], None]) -> AsyncGenerator[Live]:
    """All that it takes, for as long as the block runs. Raises ServerError."""
    folder: Path = options.output
    flags = folder / "flags.json"
    begin(flags, data_file("deploy/flags.json"), SUBJECTS)
    row = bar.add_task("starting", total=None)

    def report(now: Progress) -> None:
        bar.update(row, description=now.doing, completed=now.done, total=now.total or None)

    async with contextlib.AsyncExitStack() as running:
        report(Progress("starting LiveKit, collector and Jaeger"))
        logs = folder / "servers"
        stack = await running.enter_async_context(LocalStack(logs, jaeger=True, report=report))
        choice = Choice(stack, "its own", {"openai": None, "deepgram": None}, real=False)
        servers = await running.enter_async_context(running_servers(choice, logs, report=report))
        report(Progress("warming the worker"))
        environment = {
            **servers.variables,
            **own_store(choice, folder, FLAGS),
            "FLAGD_OFFLINE_FLAG_SOURCE_PATH": str(flags.resolve()),
            "FIRSTWORD_IDLE_PROCESSES": str(2 * options.concurrency),
        }
        worker = await running.enter_async_context(
            running_worker(
                FLAGS,
                agent_name="tune-live",
                folder=folder,
                stack=stack,
                environment=environment,
                entrypoint=Path(planted.__file__).with_name("planted_worker.py"),
            )
        )
        await worker.registered()
        rooms = await running.enter_async_context(api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret))
        bar.remove_task(row)
        plan = Rehearsal(
            (), options.sessions, concurrency=options.concurrency, stay=STAY_S, hear_out=False, flags=flags
        )
        rehearsal = RunningRehearsal(stack, {FLAGS: worker}, rooms, (), folder, voice_is_known=True)
        deadline = time.monotonic() + 60 * options.minutes
        yield Live(rehearsal, worker, str(stack.jaeger_url), flags, plan, bar, say, deadline)


async def perform(options: argparse.Namespace, bar: Bar) -> Sequence[Round]:
    """The whole of it; prints as it goes. Raises NotThrough, ServerError."""
    began = time.monotonic()
    async with live(options, bar, print) as running:
        worker = psutil.Process(running.worker.pid)
        print(f"Worker: pid {worker.pid}. Good: {GOOD}. Bad: {BAD}, with {planted.DELAY_S} s planted in it.")
        print(f"$ {' '.join(tune_command(running.jaeger, running.flags))}\n\nTime to first word, s\n{HEAD}")
        await running.round()
        await running.until_moved(GOOD, to=100)
        await running.round()
        await running.until_moved(BAD, to=0)
        await running.round()
        unheard = sum(session.heard_s is None for session in running.calls)
        if not worker.is_running():
            raise NotThrough("the worker is another one")
        print(
            f"\n{len(running.calls)} calls in {(time.monotonic() - began) / 60:.1f} minutes, {unheard} heard nothing."
        )
        changes = sum(before.shares != now.shares for before, now in itertools.pairwise(running.rounds))
        print(f"The worker is still pid {worker.pid}: it followed {changes} changes of the file.")
        return running.rounds


def main() -> None:
    """Run it, and print the table."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    if any(options.output.iterdir()):
        sys.exit(f"--output {options.output} is not empty; expected a new or empty folder")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
            rounds = asyncio.run(perform(options, bar))
    except (NotThrough, ServerError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    print("\nTime to first word, s, as Jaeger has it:")
    print("\n".join((HEAD, *(round.row for round in rounds))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tune_live",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="a new or empty folder: flag file, logs, traces")
    parser.add_argument("--sessions", type=int, default=50, help="of a round (50)")
    parser.add_argument("--concurrency", type=int, default=2, help="callers at once (2)")
    parser.add_argument("--minutes", type=float, default=25.0, help="begin no round after that (25)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
