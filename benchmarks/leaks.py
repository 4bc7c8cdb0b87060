"""What a worker keeps of its sessions: descriptors, threads, processes, memory and tasks after a hundred of them in a row.

    python -m benchmarks.leaks --executor process --sessions 100
    python -m benchmarks.leaks --executor thread --sessions 100

Runs on the local stack with simulated providers, some callers at once, bounded by `--sessions`. Rows are taken at rest,
when every job has ended and its replacement is ready; what grows from row to row is a leak. `tasks_left` are asyncio's,
of all jobs so far, that were there when a job's loop ended (`benchmarks/leaks_worker.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import psutil
from livekit import api

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.rehearsal.calls import calling
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.result import LOGS
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.workers import RunningWorker, running_worker

AT_ONCE = 4
TASKS_LEFT = "LEAKS_TASKS_LEFT"
"""Variable that tells `leaks_worker.py` where to write the tasks left, a line each; spelt there too, so that the worker does not import this."""
PATIENCE = 20.0
STAY = 1.0
"""Seconds after the first word, so that the deferred set-up ends."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the worker's own process holds, and its children beside it."""

    sessions: int
    descriptors: int
    threads: int
    memory_mb: int
    children: int
    descriptors_of_children: int
    tasks_left: int


def held(worker: psutil.Process, sessions: int, left: Path) -> Held:
    """Counted now."""
    children = worker.children(recursive=True)
    return Held(
        sessions=sessions,
        descriptors=worker.num_fds(),
        threads=worker.num_threads(),
        memory_mb=round(worker.memory_info().rss / 2**20),
        children=len(children),
        descriptors_of_children=sum(child.num_fds() for child in children),
        tasks_left=len(left.read_text().splitlines()),
    )


async def measure(executor: str, sessions: int, rows: int) -> list[Held]:
    """Rows at rest, the first one after some sessions, so that what is made once is there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with LocalStack(folder) as stack, simulators(None, folder / "providers.log") as addresses:
            environment = {f"{name.upper()}_BASE_URL": address for name, address in addresses.items()} | {
                "OPENAI_API_KEY": "simulated",
                "DEEPGRAM_API_KEY": "simulated",
                "FIRSTWORD_STORE_URL": f"sqlite+simulated:///{folder / 'accounts.db'}",
                "FIRSTWORD_EXECUTOR": executor,
                "FIRSTWORD_IDLE_PROCESSES": str(AT_ONCE),
                TASKS_LEFT: str(folder / "tasks"),
            }
            async with running_worker(
                "tuned",
                agent_name="leaks",
                folder=folder,
                stack=stack,
                environment=environment,
                entrypoint=Path(__file__).with_name("leaks_worker.py"),
            ) as worker:
                await worker.registered()
                return await _rows(worker, _process(folder), stack, environment, sessions, rows)


async def _rows(
    worker: RunningWorker,
    process: psutil.Process,
    stack: Stack,
    environment: Mapping[str, str],
    sessions: int,
    rows: int,
) -> list[Held]:
    found: list[Held] = []
    done = 0
    while done < sessions:
        await asyncio.gather(*(_session(stack, done + number) for number in range(AT_ONCE)))
        done += AT_ONCE
        if done % max(sessions // rows, AT_ONCE) < AT_ONCE:
            await worker.at_rest()
            await asyncio.sleep(5 if environment["FIRSTWORD_EXECUTOR"] == "thread" else 0)  # their end isn't logged
            found.append(held(process, done, Path(environment[TASKS_LEFT])))
            print("\t".join(str(value) for value in astuple(found[-1])), flush=True)
    return found


async def _session(stack: Stack, number: int) -> None:
    metadata = json.dumps({"account": ACCOUNTS[number % len(ACCOUNTS)].id})
    async with (
        api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
        calling(stack, rooms, room=secrets.token_hex(6), agent_name="leaks", metadata=metadata) as caller,
    ):
        await caller.connect()
        await caller.hear(PATIENCE)
        await asyncio.sleep(STAY)


def _process(folder: Path) -> psutil.Process:
    lines = (folder / LOGS / "tuned.log").read_text().splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    return psutil.Process(next(record["pid"] for record in records if record["message"] == "starting worker"))


def main() -> None:
    """Print a row as it is taken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--executor", choices=("process", "thread"), default="process")
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--rows", type=int, default=5)
    options = parser.parse_args()
    print("\t".join(field.name for field in fields(Held)))
    asyncio.run(measure(options.executor, options.sessions, options.rows))


if __name__ == "__main__":
    main()
