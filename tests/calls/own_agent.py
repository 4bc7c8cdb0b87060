"""One call of an agent that is no worker of ours: its own file, on a real server, with simulated providers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from firstword.rehearsal.callers import RehearsalCaller, join_token
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.processes import started
from firstword.rehearsal.stack import LocalStack
from firstword.tuning.files import Files
from firstword.tuning.notes import ignore
from firstword.tuning.sources import Query
from firstword.tuning.spans import Trace
from tests.calls.waiting import PATIENCE, until


def by_livekit(agent: Path) -> tuple[str, ...]:
    """What Python is told. `--dev`: else LiveKit's worker declines every job while the machine is busier than 70 %."""
    return ("-m", "livekit.agents", "start", "--dev", str(agent))


async def one_call(
    arguments: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    *,
    exported: Callable[[], object],
    last_words: bytes = b"",
) -> bytes:
    """Its log, after a caller has heard it, has waited until something was `exported`, and has hung up.

    arguments: of Python. It runs in `folder`, until its log has `last_words`. What LiveKit says of processes that the
    worker's end interrupts is not in what is returned.
    """
    async with LocalStack(folder) as stack, simulators(None, folder / "providers.log") as addresses:
        environment = {
            **{f"{name.upper()}_BASE_URL": address for name, address in addresses.items()},
            "OPENAI_API_KEY": "simulated",
            "DEEPGRAM_API_KEY": "simulated",
            "LIVEKIT_URL": stack.livekit_url,
            "LIVEKIT_API_KEY": stack.api_key,
            "LIVEKIT_API_SECRET": stack.api_secret,
            **variables,
        }
        log = folder / "worker.log"
        with log.open("wb") as output:
            async with started((sys.executable, *arguments), environment, output=output.fileno(), folder=folder):
                await until(lambda: b"registered worker" in log.read_bytes())
                caller = RehearsalCaller(stack.livekit_url, join_token(stack, room="only", identity="caller"))
                await caller.connect()
                try:
                    await caller.hear(PATIENCE)
                    await until(lambda: bool(exported()))
                finally:
                    await caller.leave()
                await until(lambda: last_words in log.read_bytes())
                return log.read_bytes()


def starts(folder: Path) -> list[Trace]:
    """The starts that have been exported."""
    if not any(folder.glob("*.jsonl")):  # the folder is there before its first file
        return []
    return [trace for trace in Files(folder).traces(Query(), ignore) if trace.is_start]
