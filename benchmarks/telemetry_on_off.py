"""What the telemetry costs the caller: `tuned` with it and without (OTEL_SDK_DISABLED), heard at the ear, interleaved.

    python -m benchmarks.telemetry_on_off --sessions 100

Two workers on one real LiveKit server, called in turn, the order turned each round; the one with telemetry has a real
collector and a real Jaeger on the same cores. Prints the median of each, and the ratio of
the medians with its 95 % interval by a paired bootstrap over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.one_call import heard
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.rehearsal.stack import LocalStack
from firstword.rehearsal.surroundings import Choice, opened, own_store
from firstword.rehearsal.workers import RunningWorker, running_worker

SIDES = {"on": {}, "off": {"OTEL_SDK_DISABLED": "true"}}


async def measure(sessions: int) -> dict[str, list[float]]:
    """Seconds of each session, by side."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with LocalStack(folder, jaeger=True) as stack, contextlib.AsyncExitStack() as running:
            choice = Choice(stack, "its own", {"openai": None, "deepgram": None}, real=False)
            place = await running.enter_async_context(opened(choice, folder))
            workers: dict[str, RunningWorker] = {}
            for side, switched in SIDES.items():
                environment = {**place.environment, **own_store(choice, folder, side), **switched}
                made = running_worker(
                    "tuned", agent_name=side, folder=folder / side, stack=stack, environment=environment
                )
                workers[side] = await running.enter_async_context(made)
                await workers[side].registered()
            for number in range(sessions):
                for side in sorted(SIDES, reverse=number % 2 == 0):
                    metadata = json.dumps({"account": ACCOUNTS[number % len(ACCOUNTS)].id})
                    room, agent_name = secrets.token_hex(6), workers[side].agent_name
                    seconds[side].append(await heard(stack, room=room, agent_name=agent_name, metadata=metadata))
                    await workers[side].at_rest()
                print(f"\r{number + 1} of {sessions} rounds", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100, help="of each side")
    seconds = asyncio.run(measure(parser.parse_args().sessions))
    on, off = np.array(seconds["on"]), np.array(seconds["off"])
    rounds = np.random.default_rng(0).integers(0, len(on), (10_000, len(on)))
    ratios = np.median(on[rounds], axis=1) / np.median(off[rounds], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    print(f"with telemetry: median {np.median(on):.3f} s; without: {np.median(off):.3f} s; {len(on)} sessions each")
    print(f"ratio of the medians: {np.median(on) / np.median(off):.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
