"""Collects the keys that the caller presses on a telephone until there is a pause; then there is one answer.

Under `firstword.agent.conversation.conversation`. A key comes as free text from anybody in the room. It counts only if
the caller sent it, and if there is such a key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

KEYS: Final = frozenset("0123456789*#ABCD")
"""The keys of a telephone (ITU-T Q.23)."""
PAUSE_S: Final = 1.5
"""Seconds without a key after which the entry is complete."""
LONGEST: Final = 32
"""Most keys of an entry. Further ones are ignored, and counted."""


class Keypad:
    """Collects the keys of one caller into entries, which a pause ends. It belongs to a running loop."""

    def __init__(self, caller: str, enter: Callable[[str], object]) -> None:
        """caller: identity of the participant whose keys count. enter: called with each entry, such as `1234#`."""
        self.ignored = 0
        """Number of keys that were ignored: somebody else's, no keys at all, or too many."""
        self._caller = caller
        self._enter = enter
        self._entry = ""
        self._timer: asyncio.TimerHandle | None = None

    def press(self, key: str, by: str | None) -> None:
        """Adds a key to the entry. Ignores and counts it if it is not the caller's, there is no such key, or the entry
        is full.

        by: identity of the participant who pressed it.
        """
        if by != self._caller or key not in KEYS or len(self._entry) >= LONGEST:
            self.ignored += 1
            return
        self._entry += key
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._complete)

    def _complete(self) -> None:
        entry, self._entry, self._timer = self._entry, "", None
        self._enter(entry)
