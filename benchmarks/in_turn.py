"""Callers of several workers in turn, on one local stack, and how much longer those of one waited than those of another.

For benchmarks that compare two sides: each round calls every side once, the order turned. So both sides meet the same machine, and
the difference of their medians is taken round by round. With a file to keep them in, rounds of several runs count together.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from livekit import api, rtc
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.rehearsal.calls import calling
from firstword.rehearsal.environment import Choice, own_store, running_servers
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.workers import RunningWorker, running_worker

PATIENCE_S = 15.0
"""Seconds after which a caller has heard nothing."""
LISTENS_S = 0.5
"""Seconds that a caller stays after the first sound."""
RESAMPLED = 10_000
Seconds = NDArray[np.float64]
"""Of one side, by round: until the caller heard the agent; infinite where they heard nothing."""


def by_metadata(account: str, room: str) -> str:
    """A job's metadata that names the account as it is. The room does not matter."""
    return json.dumps({"account": account})


@dataclass(frozen=True, slots=True)
class Side:
    """What is compared: a worker, and what its jobs are told."""

    profile: str = "tuned"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Beside what all sides have."""
    metadata: Callable[[str, str], str] = by_metadata
    """From the account and the room to the job's metadata."""
    python: Path = Path(sys.executable)
    entrypoint: Path | None = None
    """The file of the worker, where it isn't the profile's own."""


def other_checkout(root: Path) -> Side:
    """The `tuned` worker of another version, from a checkout that is set up."""
    root = root.resolve()
    return Side(python=root / ".venv" / "bin" / "python", entrypoint=root / "agent" / "worker.py")


async def measure(
    sides: Mapping[str, Side], rounds: int, *, ahead_by: float | None = None, jaeger: bool = False
) -> dict[str, Seconds]:
    """What the callers of each side waited, in `rounds` rounds.

    ahead_by: seconds that the agent comes before its caller; None: with them. jaeger: a collector and Jaeger run beside.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with LocalStack(folder, jaeger=jaeger) as stack, contextlib.AsyncExitStack() as running:
            workers = await started(sides, stack, folder, running)
            for number in track(range(rounds), "rounds", console=Console(stderr=True)):
                account = ACCOUNTS[number % len(ACCOUNTS)].id
                for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
                    room, worker = secrets.token_hex(6), workers[name]
                    metadata = sides[name].metadata(account, room)
                    found[name].append(await heard(stack, room, worker.agent_name, metadata, ahead_by))
                    for each in workers.values():
                        await each.at_rest()
    return {name: np.array(seconds) for name, seconds in found.items()}


async def started(
    sides: Mapping[str, Side], stack: Stack, folder: Path, running: contextlib.AsyncExitStack
) -> dict[str, RunningWorker]:
    """The workers of the sides, registered, which end with `running`. Raises ServerError."""
    choice = Choice(stack, "its own", {"openai": None, "deepgram": None}, real=False)
    servers = await running.enter_async_context(running_servers(choice, folder))
    workers: dict[str, RunningWorker] = {}
    for name, side in sides.items():
        worker = running_worker(
            side.profile,
            agent_name=name,
            folder=folder / name,
            stack=stack,
            environment={**servers.variables, **own_store(choice, folder, name), **side.environment},
            python=side.python,
            entrypoint=side.entrypoint,
        )
        workers[name] = await running.enter_async_context(worker)
        await workers[name].registered()
    return workers


async def heard(stack: Stack, room: str, agent_name: str, metadata: str, ahead_by: float | None) -> float:
    """Seconds from calling connect to the first audible frame; infinite for a caller who heard nothing."""
    async with (
        api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
        calling(stack, rooms, room=room, agent_name=agent_name, metadata=metadata, ahead_by=ahead_by) as caller,
    ):
        with contextlib.suppress(rtc.ConnectError, TimeoutError):
            await caller.connect()
            seconds = await caller.hear(PATIENCE_S)
            await asyncio.sleep(LISTENS_S)
            return seconds
        return float("inf")


def measured(
    sides: Mapping[str, Side],
    rounds: int,
    *,
    ahead_by: float | None = None,
    jaeger: bool = False,
    kept: Path | None = None,
) -> dict[str, Seconds]:
    """As `measure`, outside of an event loop. The rounds are appended to `kept`, and those that it holds count too."""
    found = asyncio.run(measure(sides, rounds, ahead_by=ahead_by, jaeger=jaeger))
    if kept is None:
        return found
    with kept.open("a") as file:
        for values in zip(*found.values(), strict=True):
            file.write(json.dumps(dict(zip(found, values, strict=True))) + "\n")
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    return {name: np.array([line[name] for line in lines]) for name in sides}


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much the median of one side is above the other's."""

    median: float
    """Seconds, of the one side."""
    other: float
    """Seconds, of the other side."""
    low: float
    """Seconds: the lower end of the difference's 95 % interval."""
    high: float
    """Seconds: its upper end."""
    ratio: tuple[float, float]
    """The 95 % interval of the ratio of the medians."""
    rounds: int

    def __str__(self) -> str:
        """Two lines: the medians, and the difference with its interval."""
        return (
            f"{self.median:.3f} s against {self.other:.3f} s at p50 of {self.rounds} sessions each\n"
            f"difference {1e3 * (self.median - self.other):+.1f} ms (95 % {1e3 * self.low:+.1f} to {1e3 * self.high:+.1f}), "
            f"ratio {self.median / self.other:.3f} ({self.ratio[0]:.3f} to {self.ratio[1]:.3f})"
        )


def difference(side: Sequence[float] | Seconds, other: Sequence[float] | Seconds) -> Difference:
    """Of the medians of two sides that called in turn: rounds are drawn again, both calls of a round together."""
    one, two = np.asarray(side, dtype=float), np.asarray(other, dtype=float)
    drawn = np.random.default_rng(0).integers(0, len(one), (RESAMPLED, len(one)))
    medians, others = np.median(one[drawn], axis=1), np.median(two[drawn], axis=1)
    low, high = np.quantile(medians - others, (0.025, 0.975))
    least, most = np.quantile(medians / others, (0.025, 0.975))
    return Difference(
        float(np.median(one)),
        float(np.median(two)),
        float(low),
        float(high),
        (float(least), float(most)),
        len(one),
    )
