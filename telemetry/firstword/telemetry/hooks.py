"""Wraps methods of classes that aren't ours, while somebody needs that, in any thread.

The bottom of the observed start: `firstword.telemetry.loop_hooks` wraps asyncio's, `firstword.telemetry.audible_frames`
LiveKit's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Function = Callable[..., Any]


class HookPlace(NamedTuple):
    """A method of a class, and the function that wraps it."""

    owner: type[Any]
    name: str
    wrap: Callable[[Function], Function]
    """Takes the original function and returns the wrapper."""


class Hooks:
    """A set of hooks that counts its users: it wraps the methods for the first user, and unwraps them after the last.

    If somebody else wrapped a method after us, our wrapper can't be removed. It stays, once, and must do nothing while
    there is no user.
    """

    def __init__(self, places: Callable[[], Sequence[HookPlace]]) -> None:
        """places: returns the methods to wrap. Called when the hooks are set, since it may import what is wrapped."""
        self._places = places
        self._set: list[_Hook] = []
        self._users = 0
        self._lock = threading.RLock()

    def use(self) -> None:
        """Adds a user. The first one sets the hooks."""
        with self._lock:
            if self._users == 0:
                stayed = {(hook.place.owner, hook.place.name) for hook in self._set}
                new = [place for place in self._places() if (place.owner, place.name) not in stayed]
                self._set += [_Hook(place) for place in new]
            self._users += 1

    def release(self) -> None:
        """Removes a user. After the last one the hooks are removed."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._set = [hook for hook in self._set if not hook.remove()]


class _Hook:
    """One method, wrapped."""

    def __init__(self, place: HookPlace) -> None:
        self.place = place
        found = vars(place.owner).get(place.name)
        self._own = found
        """What the class itself has there: None where it inherits the method."""
        if isinstance(found, staticmethod):
            self._ours: Any = staticmethod(place.wrap(found.__func__))
        else:
            self._ours = place.wrap(getattr(place.owner, place.name))
        setattr(place.owner, place.name, self._ours)

    def remove(self) -> bool:
        """Whether it is gone; not where somebody has wrapped it."""
        owner, name = self.place.owner, self.place.name
        if vars(owner).get(name) is not self._ours:
            return False
        if self._own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, self._own)
        return True
