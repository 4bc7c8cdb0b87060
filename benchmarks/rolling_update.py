"""Whether a rolling update is heard: workers are replaced one by one, as the chart does it, while callers call.

    python -m benchmarks.rolling_update --runs 10
    python -m benchmarks.rolling_update --kill     # a worker is killed instead (benchmarks/worker_killed.py)

LiveKit server and simulated providers run on this machine. A new worker is started, and is ready when `/readyz` says so; then the
old one gets SIGTERM, and has ended when its calls have. Meanwhile a caller calls every so many seconds and stays on the line. Counted
is who was not heard, who was left by the agent before they hung up, which jobs a worker took that had been told to end, and which
starts left no trace. Exits 1 where there is any.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from livekit import api, rtc
from rich.console import Console
from rich.progress import Progress

from benchmarks.deployment import AGENT, deployment, jobs_of, starts_in
from benchmarks.steady_calls import Steady
from benchmarks.worker_killed import KillPlan, KillResult, kill_a_worker
from firstword.rehearsal.calls import calling
from firstword.rehearsal.environment import RunningServers
from firstword.rehearsal.result import Quantiles

PATIENCE_S = 30.0
"""Seconds after which a caller has heard nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many workers are replaced, and who calls meanwhile."""

    workers: int = 2
    every_s: float = 2.0
    """Seconds from one caller to the next."""
    stay_s: float = 8.0
    """Seconds that a caller stays after the first word."""
    settle_s: float = 4.0
    """Seconds of calls before the first replacement, between two, and after the last."""


@dataclass(slots=True)
class Result:
    """What the callers met, and how the workers ended."""

    heard_s: list[float] = field(default_factory=list[float])
    unheard: int = 0
    cut_off: int = 0
    """Callers whose agent left before they did."""
    drains_s: list[float] = field(default_factory=list[float])
    """Seconds from SIGTERM to the end of each replaced worker."""
    exit_codes: list[int] = field(default_factory=list[int])
    jobs_after: int = 0
    """Jobs that a worker took after it was told to end."""
    traces: int = 0

    @property
    def calls(self) -> int:
        """Returns how many callers called."""
        return len(self.heard_s) + self.unheard

    @property
    def faults(self) -> list[str]:
        """Returns what went wrong, each in words; empty if nobody noticed the update."""
        found = {
            "callers unheard": self.unheard,
            "callers cut off": self.cut_off,
            "jobs taken by a worker that drains": self.jobs_after,
            "starts without a trace": len(self.heard_s) - self.traces,
            "workers that did not end by themselves": sum(code != 0 for code in self.exit_codes),
        }
        return [f"{count} {what}" for what, count in found.items() if count]

    def __str__(self) -> str:
        heard = Quantiles.of(self.heard_s)
        waited = f"heard after {heard.p50:.3f} s at p50, {heard.p90:.3f} s at p90" if heard else "nobody heard anything"
        drains = ", ".join(f"{seconds:.1f}" for seconds in self.drains_s)
        return f"{self.calls} calls: {waited}; drained in {drains} s; {'; '.join(self.faults) or 'nobody noticed'}"


async def call(servers: RunningServers, rooms: api.LiveKitAPI, plan: Plan, result: Result) -> None:
    """One caller, from connecting to hanging up."""
    left: list[str] = []

    def on_left(participant: rtc.RemoteParticipant) -> None:
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            left.append(participant.identity)

    room = f"rolling-{secrets.token_hex(6)}"
    async with calling(servers.stack, rooms, room=room, agent_name=AGENT) as caller:
        try:
            await caller.connect()
            caller.room.on("participant_disconnected", on_left)  # pyright: ignore[reportUnknownMemberType]  # untyped
            result.heard_s.append(await caller.hear(PATIENCE_S))
        except (rtc.ConnectError, TimeoutError):
            result.unheard += 1
            return
        await asyncio.sleep(plan.stay_s)
        result.cut_off += bool(left)


async def callers(
    servers: RunningServers, rooms: api.LiveKitAPI, plan: Plan, result: Result, over: asyncio.Event
) -> None:
    """Callers at a steady rate until it is over; returns when the last one has hung up."""
    async with asyncio.TaskGroup() as calls:
        while not over.is_set():
            calls.create_task(call(servers, rooms, plan, result))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), plan.every_s)


async def update(folder: Path, plan: Plan) -> Result:
    """One rolling update of all workers under steady calls."""
    result, over = Result(), asyncio.Event()
    async with deployment(folder, plan.workers) as (servers, deployed):
        stack = servers.stack
        async with api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms:
            calls = asyncio.create_task(callers(servers, rooms, plan, result, over))
            try:
                await asyncio.sleep(plan.settle_s)
                for old in list(deployed.now):
                    result.drains_s.append(await deployed.replace(old))
                    result.exit_codes.append(await old.worker.exited())
                    await asyncio.sleep(plan.settle_s)
            finally:
                over.set()
                await calls
        for replica in deployed.now:
            await replica.worker.at_rest()
    result.jobs_after = sum(
        sum(at > replica.told_at for at in jobs_of(replica).values()) for replica in deployed.all if replica.told_at
    )
    result.traces = sum(starts_in(replica.folder) for replica in deployed.all)
    return result


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rolling_update",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=1, help="rolling updates, one after the other (1)")
    parser.add_argument("--workers", type=int, default=2, help="that are replaced (2)")
    parser.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="from caller to caller (2; with --kill, where they stay longer, 8)",
    )
    parser.add_argument("--kill", action="store_true", help="kill one of two workers, and count who is rescued")
    typed = parser.parse_args()
    if typed.kill:
        return summed_kills([killed(typed.every or 8.0) for _ in range(typed.runs)])
    results: list[Result] = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for number in bar.track(range(typed.runs), description="updates"):
            with tempfile.TemporaryDirectory() as folder:
                results.append(asyncio.run(update(Path(folder), Plan(typed.workers, typed.every or 2.0))))
            print(f"{number + 1:>3}  {results[-1]}", flush=True)
    return summed(results)


def killed(every_s: float) -> KillResult:
    """Kill a worker under steady calls, and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(kill_a_worker(Path(folder), KillPlan(Steady(every_s=every_s))))
    print(result, flush=True)
    return result


def summed_kills(results: Sequence[KillResult]) -> int:
    """Print what all runs say together; the exit code."""
    wrong = [fault for result in results for fault in result.faults]
    rescued = Quantiles.of([seconds for result in results for seconds in result.rescued_s])
    orphans = sum(len(result.orphans) for result in results)
    waited = f"with another agent after {rescued.p50:.1f} s at p50, {rescued.max:.1f} s at most; " if rescued else ""
    print(f"{len(results)} workers killed, {orphans} callers of theirs: {waited}{'; '.join(wrong) or 'all rescued'}")
    return int(bool(wrong))


def summed(results: Sequence[Result]) -> int:
    """Print what all runs say together; the exit code."""
    calls = sum(result.calls for result in results)
    wrong = [fault for result in results for fault in result.faults]
    print(f"{len(results)} updates, {calls} calls: {'; '.join(wrong) or 'nobody unheard, nobody cut off'}")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
