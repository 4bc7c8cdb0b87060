"""Keeps the events of room and session, from the first moment on, for handlers that may come later.

Watched before anything can happen; a handler that is attached after the first word gets what came before, in order,
nothing twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

logger = logging.getLogger("firstword")

Handler = Callable[..., object]

MOST_KEPT = 1_000
"""Most events that are kept for handlers that have not come yet. Later ones are dropped, with one warning."""


class Emitter(Protocol):
    """Protocol of what LiveKit's rooms and sessions have in common: `on` registers a callback for an event."""

    def on(self, event: Any, callback: Any) -> Any:
        """Registers `callback`, which is called for each event of that name."""
        ...


class Events:
    """Keeps the events of one session in the order they happened, and delivers them to handlers that may come later."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, tuple[Any, ...]]] = []
        self._handlers: dict[str, Handler] | None = None
        self._full = False
        self.counts: Final = Counter[str]()
        """How many events of each name happened, for those that are only counted."""

    def watch(self, emitter: Emitter, names: Iterable[str]) -> None:
        """Begins to keep, or deliver, the events of these names of an emitter."""
        for name in names:
            emitter.on(name, self._take(name))

    def count(self, emitter: Emitter, names: Iterable[str]) -> None:
        """Begins to count the events of these names of an emitter in `counts`. Keeps nothing of them."""
        for name in names:
            emitter.on(name, self._counter(name))

    def deliver_to(self, handlers: dict[str, Handler]) -> None:
        """Calls the handlers (by event name) with the events that were kept, then with each event as it happens.

        Raises RuntimeError at a second call.
        """
        if self._handlers is not None:
            raise RuntimeError("the events have their handlers already")
        while self._kept:
            kept, self._kept = self._kept, []
            for name, arguments in kept:
                _call(handlers, name, arguments)
        self._handlers = handlers

    def _counter(self, name: str) -> Handler:
        def count(*_: Any) -> None:
            self.counts[name] += 1

        return count

    def _take(self, name: str) -> Handler:
        def take(*arguments: Any) -> None:
            if self._handlers is not None:
                _call(self._handlers, name, arguments)
            elif len(self._kept) < MOST_KEPT:
                self._kept.append((name, arguments))
            elif not self._full:
                self._full = True
                logger.warning("over %d events before their handlers came; the rest is dropped", MOST_KEPT)

        return take


def _call(handlers: dict[str, Handler], name: str, arguments: tuple[Any, ...]) -> None:
    if name in handlers:
        try:
            handlers[name](*arguments)
        except Exception:
            logger.exception("the handler of %s failed", name)
