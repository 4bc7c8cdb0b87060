"""What naming the account by a signed claim costs the caller, against naming it in the job's metadata: heard at the ear, in turn.

    python -m benchmarks.claim --sessions 40

One tuned worker, or one of another profile, takes both; the order turns each round. Prints the median of each, and the
difference of the medians with its 95 % interval by a paired bootstrap over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.one_call import heard
from firstword.agent.accounts.claim import signed_claim
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.surroundings import Choice, opened, own_store
from firstword.rehearsal.workers import RunningWorker, running_worker

KEY = secrets.token_hex(32)
SIDES = ("claim", "metadata")


async def called(stack: Stack, worker: RunningWorker, side: str, number: int, ahead_by: float | None) -> float:
    """Seconds until the caller of that round heard the agent, their account named this side's way."""
    room, account = secrets.token_hex(6), ACCOUNTS[number % len(ACCOUNTS)].id
    named = {"account": account} if side == "metadata" else {"claim": signed_claim(account, room, KEY, now=time.time())}
    return await heard(stack, room=room, agent_name=worker.agent_name, metadata=json.dumps(named), ahead_by=ahead_by)


async def measure(profile: str, sessions: int, ahead_by: float | None) -> dict[str, list[float]]:
    """Seconds of each session, by side."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with LocalStack(folder) as stack, contextlib.AsyncExitStack() as running:
            choice = Choice(stack, "its own", {"openai": None, "deepgram": None}, real=False)
            place = await running.enter_async_context(opened(choice, folder))
            sources = {"FIRSTWORD_ACCOUNT_SOURCES": "claim,metadata", "FIRSTWORD_CLAIM_KEY": KEY}
            environment = {**place.environment, **own_store(choice, folder, profile), **sources}
            made = running_worker(profile, agent_name="claim", folder=folder, stack=stack, environment=environment)
            worker = await running.enter_async_context(made)
            await worker.registered()
            for number in range(sessions):
                for side in sorted(SIDES, reverse=number % 2 == 0):
                    seconds[side].append(await called(stack, worker, side, number, ahead_by))
                    await worker.at_rest()
                print(f"\r{number + 1} of {sessions} rounds", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="tuned")
    parser.add_argument("--sessions", type=int, default=40, help="of each side")
    parser.add_argument("--ahead-by", type=float, help="seconds that the agent comes before its caller; else with them")
    typed = parser.parse_args()
    seconds = asyncio.run(measure(typed.profile, typed.sessions, typed.ahead_by))
    claim, metadata = np.array(seconds["claim"]), np.array(seconds["metadata"])
    rounds = np.random.default_rng(0).integers(0, len(claim), (10_000, len(claim)))
    differences = 1e3 * (np.median(claim[rounds], axis=1) - np.median(metadata[rounds], axis=1))
    low, high = np.quantile(differences, (0.025, 0.975))
    print(f"claim: median {np.median(claim):.3f} s; metadata: {np.median(metadata):.3f} s; {len(claim)} sessions each")
    print(f"difference: {1e3 * (np.median(claim) - np.median(metadata)):+.1f} ms (95 % {low:+.1f} to {high:+.1f})")


if __name__ == "__main__":
    main()
