"""Reports a helper's failures to the operator: one log line when they begin, one when they end, and a count.

A helper is whatever a call can do without: a cache, the store, the flag source, what is made in advance. Counts reach
the worker's metrics (`firstword.helper.failures`) from any of its processes. docs/failures.md lists the helpers.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Final

from firstword.agent import run_folder

logger = logging.getLogger("firstword")

HELPER: Final = "helper"
REASON: Final = "reason"


class Failing:
    """Remembers for which reasons one helper fails now in this process, so that each is logged once until it works
    again.
    """

    def __init__(self, helper: str) -> None:
        self._helper = helper
        self._said = set[str]()

    def failed(self, reason: str, line: str, *, unexpected: bool = False) -> None:
        """Records a failure of the helper: counts it, and logs `line` unless it has failed for this reason since it
        last worked.

        reason: a word from a small set, for the metric. line: without anything personal or secret. unexpected: also log
        the exception that is being handled.
        """
        run_folder.send(json.dumps({HELPER: self._helper, REASON: reason}).encode())
        if reason not in self._said:
            self._said.add(reason)
            logger.warning("%s", line, exc_info=unexpected or None)

    def works(self) -> None:
        """Records that the helper works. If it had failed, logs that it works again."""
        if self._said:
            self._said.clear()
            logger.info("%s works again", self._helper)


class BackOff:
    """Says when to try something again that failed. Each failure doubles the pause before the next try; a success ends
    it.
    """

    def __init__(self, first: float, longest: float, *, now: Callable[[], float] = time.monotonic) -> None:
        """first, longest: seconds of the first pause and of the longest."""
        self._first, self._longest = first, longest
        self._now = now
        self._pause = 0.0
        self._until = float("-inf")

    @property
    def due(self) -> bool:
        """Returns whether the pause is over, so that a new try may be made."""
        return self._now() >= self._until

    def failed(self) -> float:
        """Records a failure and begins a pause. Returns its length in seconds."""
        self._pause = min(max(self._pause * 2, self._first), self._longest)
        self._until = self._now() + self._pause
        return self._pause

    def worked(self) -> None:
        """Records a success: there is no pause now, and the pause after the next failure is the first one again."""
        self._pause, self._until = 0.0, float("-inf")
