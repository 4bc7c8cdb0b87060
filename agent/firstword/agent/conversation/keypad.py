"""The keys that the caller presses on a telephone: collected until there is a pause, then one answer.

Under `firstword.agent.conversation.conversation`. A key comes as free text from anybody in the room. It counts only if the caller sent it,
and if there is such a key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

KEYS: Final = frozenset("0123456789*#ABCD")
"""Those of a telephone (ITU-T Q.23)."""
PAUSE_S: Final = 1.5
"""Seconds without a key after which the entry is complete."""
LONGEST: Final = 32
"""Keys of an entry; more are ignored, and counted."""


class Keypad:
    """Collects the keys of one caller; belongs to a running loop."""

    def __init__(self, caller: str, enter: Callable[[str], object]) -> None:
        """caller: identity of the participant whose keys count. enter: told each entry, such as `1234#`."""
        self.ignored = 0
        """Keys that were somebody else's, no keys at all, or too many."""
        self._caller = caller
        self._enter = enter
        self._entry = ""
        self._timer: asyncio.TimerHandle | None = None

    def press(self, key: str, by: str | None) -> None:
        """Somebody pressed a key. by: identity of the participant."""
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
