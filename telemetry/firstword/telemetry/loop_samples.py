"""What a step that holds the event loop is doing: its Python stack, looked at from a thread every few milliseconds.

Adds to a `firstword.telemetry.loop_record` what the loop itself can't write down: a step that computes or blocks between two awaits
is at many lines. Short steps are not looked at.
"""

from __future__ import annotations

import sys
import threading

from firstword.telemetry.loop_record import LoopRecord, stack_of

EVERY = 0.005
"""Seconds between two looks."""
MOST_SAMPLES = 2_000
"""Of one record: a loop that is held for 10 s."""


class LoopSampler:
    """A thread that looks at a record's loop until it is stopped."""

    def __init__(self, record: LoopRecord) -> None:
        self._record = record
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="firstword loop samples", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more. Does not wait for the thread."""
        self._stopped.set()

    def join(self) -> None:
        """Wait until the thread has ended, after `stop`."""
        self._thread.join()

    def _run(self) -> None:
        left = MOST_SAMPLES
        while left and not self._stopped.wait(EVERY):
            left -= self._look()

    def _look(self) -> bool:
        """Whether there is one sample more."""
        record, step = self._record, self._record.current
        if step is None or record.clock() - step.begin < EVERY * 1e9:
            return False
        frames = stack_of(sys._current_frames().get(record.thread))  # pyright: ignore[reportPrivateUsage]
        if record.current is not step or not frames:
            return False
        if step.samples is None:
            step.samples = []
        step.samples.append((record.clock(), frames))
        return True
