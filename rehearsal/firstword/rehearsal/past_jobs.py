"""Tells past jobs of a worker that linger from those that compute on, and ends the latter.

Below `workers.py`. A job's process may wait for something after its caller has left. That disturbs no later call. One that computes on
takes a core from every later call, for as long as it runs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection

import psutil

LINGER_S = 5.0
"""Seconds after which past jobs that compute are ended. Most end within two of their caller's leaving."""
_QUIET_S = 2.0
_QUIET_LOAD = 0.05
"""Of a core, which all processes of a worker at rest use at most."""


class Computing:
    """Watches how much a process and all below it compute."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._since = time.monotonic()
        self._used = self._cpu_seconds()
        self._busy: frozenset[int] = frozenset()

    def is_quiet(self) -> bool:
        """Returns whether they were the same processes for the last `_QUIET_S` seconds, and used next to no CPU. Asked
        earlier it returns False."""
        seconds = time.monotonic() - self._since
        if seconds < _QUIET_S:
            return False
        before, self._used, self._since = self._used, self._cpu_seconds(), time.monotonic()
        most = _QUIET_LOAD * seconds
        self._busy = frozenset(pid for pid, used in self._used.items() if used - before.get(pid, used) > most)
        same = before.keys() == self._used.keys()
        return same and sum(self._used.values()) - sum(before.values()) < most

    def end_busy(self, pids: Collection[int]) -> frozenset[int]:
        """Kills those of these processes that computed when `is_quiet` last looked. Returns their ids.

        Never ends the top process, nor any that is not below it.
        """
        ended: set[int] = set()
        for pid in self._busy.intersection(pids) - {self._pid}:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
                ended.add(pid)
        return frozenset(ended)

    def _cpu_seconds(self) -> dict[int, float]:
        """Process id -> seconds of CPU so far."""
        used: dict[int, float] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self._pid)
            for process in (top, *top.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    used[process.pid] = times.user + times.system
        return used
