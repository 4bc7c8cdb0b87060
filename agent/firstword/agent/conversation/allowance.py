"""Limits how often somebody may make the agent answer without saying a word: each answer is a request to LLM and TTS.

For what a participant sends at any rate it likes: keys of a telephone, texts of a chat.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

MOST: Final = 20
"""Most answers in `PER_S` seconds."""
PER_S: Final = 60.0


class Allowance:
    """Limits answers to `MOST` in any `PER_S` seconds, and counts those that are refused."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """now: a clock, seconds."""
        self.refused = 0
        """How many answers were refused."""
        self._now = now
        self._given: deque[float] = deque(maxlen=MOST)

    def take(self) -> bool:
        """Takes one answer of the allowance. Returns False, and counts it, if none is left."""
        now = self._now()
        if len(self._given) == MOST and now - self._given[0] < PER_S:
            self.refused += 1
            return False
        self._given.append(now)
        return True
