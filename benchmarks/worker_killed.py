"""What callers notice when one of two workers is killed: theirs is a room without an agent until another one comes.

`python -m benchmarks.rolling_update --kill` runs this. All processes of the worker are killed at once, as when its machine is lost, and
a new worker is started, as the platform would. `firstword rescue` watches meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

from livekit import api, rtc

from benchmarks.deployment import AGENT, Replica, deployment, jobs_of
from benchmarks.steady_calls import Call, Steady, steady_calls, summary
from firstword.rehearsal.processes import ServerFailed, started
from firstword.rehearsal.stack import Stack

RESCUED_S = 10.0
"""Seconds within which a caller has an agent again."""
WATCHES_S = 60.0
"""Seconds that `firstword rescue` has to begin."""


@dataclass(frozen=True, slots=True)
class KillPlan:
    """Who calls, and when the worker goes."""

    steady: Steady = field(default_factory=Steady)
    before_s: float = 18.0
    """Seconds of calls before the worker is killed."""
    after_s: float = 24.0
    """Seconds of calls from then on."""


@dataclass(slots=True)
class KillResult:
    """The calls of one run."""

    calls: list[Call] = field(default_factory=list[Call])
    worker: str = ""
    """The worker that was killed, by its folder's name."""
    killed_at: float = 0.0

    @property
    def orphans(self) -> list[Call]:
        """Returns the calls whose agent was killed, of callers who stayed long enough to be rescued."""
        stayed = [call for call in self.calls if call.ended > self.killed_at + RESCUED_S]
        return [call for call in stayed if call.place == self.worker and call.went_on(self.killed_at)]

    @property
    def rescued_s(self) -> list[float]:
        """Returns the seconds from the kill until each of them had another agent's voice; none for those who had none."""
        found = (call.new_voice_s(self.killed_at) for call in self.orphans)
        return [seconds for seconds in found if seconds is not None]

    @property
    def faults(self) -> list[str]:
        """Returns what went wrong, each in words."""
        orphans = self.orphans
        found = {
            "callers without another agent": len(orphans) - len(self.rescued_s),
            f"rescued later than {RESCUED_S:g} s": sum(seconds > RESCUED_S for seconds in self.rescued_s),
            "of these, unanswered at the end": sum(not call.answered for call in orphans),
            "callers unheard": sum(call.heard_s is None for call in self.calls),
        }
        return [f"{count} {what}" for what, count in found.items() if count]

    def __str__(self) -> str:
        others = [call for call in self.calls if call not in self.orphans]
        return (
            f"on the killed worker: {summary(self.orphans, self.killed_at)}\n"
            f"     others: {summary(others, self.killed_at)}\n"
            f"     {'; '.join(self.faults) or 'all rescued'}"
        )


@contextlib.asynccontextmanager
async def rescuer(stack: Stack, log: Path) -> AsyncGenerator[None]:
    """`firstword rescue` for the agent; it watches on entry."""
    environment = {
        "LIVEKIT_URL": stack.livekit_url,
        "LIVEKIT_API_KEY": stack.api_key,
        "LIVEKIT_API_SECRET": stack.api_secret,
    }
    command = (sys.executable, "-m", "firstword", "rescue", "--agent", AGENT)
    with log.open("wb") as output:
        async with started(command, environment, output=output.fileno()) as process:
            async with asyncio.timeout(WATCHES_S):
                while not watches(log):  # noqa: ASYNC110 - it is another process that says so
                    await asyncio.sleep(0.1)
            yield
            if process.returncode is not None:
                raise ServerFailed(f"firstword rescue ended with {process.returncode}; see {log}")


def watches(log: Path) -> bool:
    """Whether it has said that it watches."""
    return "Watching" in log.read_text(errors="replace")


async def kill_a_worker(folder: Path, plan: KillPlan) -> KillResult:
    """Kills one of two workers under steady calls."""
    result, over = KillResult(), asyncio.Event()
    async with deployment(folder, 2) as (servers, deployed):
        stack = servers.stack

        async def worker_of(room: rtc.Room) -> str | None:
            sid = await room.sid
            return next((each.folder.name for each in deployed.all if sid in jobs_of(each)), None)

        async with (
            rescuer(stack, folder / "rescue.log"),
            api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(steady_calls(stack, rooms, plan.steady, result.calls, over, worker_of))
            try:
                await asyncio.sleep(plan.before_s)
                busiest = max(
                    deployed.now, key=lambda each: sum(call.place == each.folder.name for call in result.calls)
                )
                deployed.now.remove(busiest)
                result.worker, result.killed_at = busiest.folder.name, time.monotonic()
                kill(busiest)
                await deployed.add()
                await asyncio.sleep(max(0.0, result.killed_at + plan.after_s - time.monotonic()))
            finally:
                over.set()
    return result


def kill(replica: Replica) -> None:
    """Kills all processes of the worker at once."""
    os.killpg(replica.worker.pid, signal.SIGKILL)
