"""Whether what Jaeger marks as critical is the exact path, and whether anything personal is in any exported byte.

    python -m benchmarks.exactness --sessions 100

A rehearsal of `baseline` and `tuned`, `join` and `ahead`, on a real LiveKit server; the callers speak, every fifth hangs up early, and
the simulated providers and the store fail now and then. Each start is declared and observed, so it has two traces. They are read back
from a real Jaeger behind a real collector.
For each, the path that the `critical` spans say is compared with the one that the rule of Jaeger's page finds (from the root's
end back, always to the child that finished last): the time in which they differ, at most 1 ms. Exits 1 where they don't agree.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path

from livekit import api

from benchmarks.contract import violations
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.rehearsal.calls import calling
from firstword.rehearsal.environment import Choice, own_store, running_servers
from firstword.rehearsal.privacy import private_in
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.workers import RunningWorker, running_worker
from firstword.telemetry.inferred_path import TimedSpan as ForeignSpan
from firstword.telemetry.inferred_path import last_finishing_path
from firstword.telemetry.vocabulary import CRITICAL_PREFIX, OUTCOME
from firstword.tuning.jaeger import Jaeger
from firstword.tuning.sources import Query
from firstword.tuning.spans import Trace
from firstword.tuning.start import Method, start_of

PROFILES = ("baseline", "tuned")
FAULTS = """
[tts]
faults = { refuse = 0.1, cut = 0.05, slow = 0.05, slow_ms = 3000 }
[stt]
faults = { refuse = 0.1, cut = 0, slow = 0, slow_ms = 0 }
[llm]
faults = { refuse = 0.1, cut = 0, slow = 0, slow_ms = 0 }
[store]
faults = { refuse = 0.1, cut = 0, slow = 0.05, slow_ms = 2000 }
"""
MOST_US = 1000


def differing_us(trace: Trace) -> int:
    """Microseconds of the root in which the two paths are on different spans."""
    spans = [
        ForeignSpan(s.span_id, s.parent_id, s.name, s.kind, s.start_ns // 1000, s.end_ns // 1000) for s in trace.spans
    ]
    found = {
        (piece.task or "", piece.start // 1000, piece.end // 1000)
        for piece in last_finishing_path(spans, trace.root.span_id, as_jaeger=True)
    }
    names = {span.span_id: span.name for span in trace.spans}
    begin = trace.root.start_ns // 1000
    same = sum(
        max(min(end, begin + piece.start_us + piece.duration_us) - max(start, begin + piece.start_us), 0)
        for piece in start_of(trace).path
        for task, start, end in found
        if task == piece.span_id and names[task].startswith(CRITICAL_PREFIX)
    )
    return trace.root.duration_us - same


async def call(stack: Stack, worker: RunningWorker, number: int, ahead: bool, hang_up: float | None) -> None:
    """One caller, who asks what time it is once the greeting began, or hangs up after so many seconds."""
    metadata = json.dumps({"account": ACCOUNTS[number % len(ACCOUNTS)].id})
    name, ahead_by = worker.agent_name, 1.5 if ahead else None
    async with (
        api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
        calling(
            stack, rooms, room=secrets.token_hex(6), agent_name=name, metadata=metadata, ahead_by=ahead_by
        ) as caller,
    ):
        await caller.connect()
        if hang_up is not None:
            await asyncio.sleep(hang_up)
        else:
            with contextlib.suppress(TimeoutError):
                await caller.hear(15)
            await caller.say(400, 1)
            await asyncio.sleep(3)  # for the answer, of a tool


async def main(sessions: int) -> int:
    """Run it, print the table; the exit code."""
    drawn = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        faults = folder / "faults.toml"
        faults.write_text(FAULTS)
        async with LocalStack(folder, jaeger=True) as stack, contextlib.AsyncExitStack() as running:
            choice = Choice(stack, "its own", {"openai": None, "deepgram": None}, real=False, latencies=faults)
            servers = await running.enter_async_context(running_servers(choice, folder))
            workers: list[RunningWorker] = []
            for profile in PROFILES:
                environment = {
                    **servers.variables,
                    **own_store(choice, folder, profile),
                    "OTEL_BSP_SCHEDULE_DELAY": "500",
                    "FIRSTWORD_OBSERVE": "1",
                }
                environment["FIRSTWORD_RETURN_GRACE"] = "0.5"
                made = running_worker(
                    profile, agent_name=profile, folder=folder, stack=stack, environment=environment, real=False
                )
                workers.append(await running.enter_async_context(made))
                await workers[-1].registered()
            for number in range(0, sessions, 2):
                ahead = number % 4 == 0
                hang_ups = [drawn.uniform(0.05, 1.0) if (number + i) % 5 == 0 else None for i in range(2)]
                await asyncio.gather(
                    *(
                        call(stack, worker, number, ahead, hang_up)
                        for worker, hang_up in zip(workers, hang_ups, strict=True)
                    )
                )
                await asyncio.gather(*(worker.at_rest() for worker in workers))
                print(f"\r{number + 2} of {sessions} sessions", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
            await asyncio.sleep(5)
            assert stack.jaeger_url is not None
            traces = await asyncio.to_thread(lambda: list(Jaeger(stack.jaeger_url or "").traces(Query(), print)))
        return report(traces, everything_in(folder / "traces"), stack, sessions)


def everything_in(folder: Path) -> bytes:
    """All that the workers exported."""
    return b"".join(path.read_bytes() for path in folder.glob("**/*.jsonl"))


def report(traces: list[Trace], exported: bytes, stack: Stack, sessions: int) -> int:
    """Print what was found; 1 where a path differs, a trace is missing, or something personal was exported."""
    outcomes = Counter(str(trace.root.attributes.get(OUTCOME)) for trace in traces)
    methods = Counter(start_of(trace).method for trace in traces)
    few = min(methods[method] for method in (Method.EXACT, Method.OBSERVED)) < 0.9 * sessions
    differing = sorted(differing_us(trace) for trace in traces)
    personal = private_in(exported, stack)
    wrong = [us for us in differing if us > MOST_US]
    broken = Counter(what for trace in traces for what in violations(trace))
    print(f"starts read back from Jaeger: {len(traces)}, two of each of {sessions} callers; outcomes: {dict(outcomes)}")
    print(f"method: {dict(methods)}")
    print(f"time in which the two paths differ, us: median {differing[len(differing) // 2]}, most {differing[-1]}")
    print(f"paths that differ by more than {MOST_US} us: {len(wrong)}")
    print(f"contract: {sum(not violations(trace) for trace in traces)} of {len(traces)} starts keep all of it")
    for what, count in broken.most_common(20):
        print(f"  {count} x {what}")
    print(f"personal words in {len(exported) / 1e6:.1f} MB of exported spans: {personal or 'none'}")
    return 1 if wrong or broken or personal or few else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100, help="callers in all, an even number")
    raise SystemExit(asyncio.run(main(parser.parse_args().sessions)))
