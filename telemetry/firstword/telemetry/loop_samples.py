"""Samples what a step that holds the event loop is doing: its Python stack, read by a thread every few milliseconds.

Adds to a `firstword.telemetry.loop_record` what the loop itself can't write down: a step that computes or blocks
between two awaits is at many lines. Short steps are not looked at.
"""

from __future__ import annotations

import sys
import threading
import time

from firstword.telemetry.frames import stack_of
from firstword.telemetry.loop_record import LoopRecord

IDLE, BUSY = 0.05, 0.005
"""Seconds until the next look: where no step ran at the last one, and where one did."""
MOST_SAMPLES = 2_000
"""Most samples of one record: those of a loop that is held for 10 s."""


class LoopSampler:
    """A thread that samples the Python stack of a recorded loop, while a step holds it for long, until `stop`."""

    def __init__(self, record: LoopRecord) -> None:
        self._record = record
        self._stopped = False
        self._left = MOST_SAMPLES
        threading.Thread(target=self._run, name="firstword loop samples", daemon=True).start()

    def stop(self) -> None:
        """Stops sampling. Does not wait for the thread, which ends at its next look."""
        self._stopped = True

    def _run(self) -> None:
        wait = BUSY
        while self._left and not self._stopped and self._record.lost is None:
            time.sleep(wait)  # half of what waiting for an event costs
            wait = self._look()

    def _look(self) -> float:
        """Take a sample where a step has run for long; returns when to look again, in seconds from now."""
        record, step = self._record, self._record.current
        if step is None:
            return IDLE
        if record.clock() - step.begin > BUSY * 1e9:
            frames = stack_of(sys._current_frames().get(record.thread))  # pyright: ignore[reportPrivateUsage]
            if record.current is step and frames:
                if step.samples is None:
                    step.samples = []
                step.samples.append((record.clock(), frames))
                self._left -= 1
        return BUSY
