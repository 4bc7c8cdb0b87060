"""A caller as a process of its own, which a test can stop: `python -m tests.calls.slow_ear URL TOKEN FILE`.

Says on standard output when it subscribes to the agent's voice; FILE has what was heard, once the agent is silent.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from livekit import rtc

from firstword.rehearsal.callers import RehearsalCaller

PATIENCE, PAUSE = 60.0, 1.5


class SlowEar(RehearsalCaller):
    """Tells of the subscription before it listens."""

    def _listen_to(self, track: rtc.Track, publication: Any, participant: Any) -> None:
        sys.stdout.write(f"{publication.name}\n")
        sys.stdout.flush()
        super()._listen_to(track, publication, participant)


async def heard(url: str, token: str) -> bytes:
    """Call, hear the greeting out, leave. Returns its samples."""
    caller = SlowEar(url, token, record=True)
    await caller.connect()
    await caller.hear(PATIENCE)
    await caller.hear_out(PAUSE)
    await caller.leave()
    return caller.voice().tobytes()


if __name__ == "__main__":
    Path(sys.argv[3]).write_bytes(asyncio.run(heard(*sys.argv[1:3])))
