"""Admits the requests of every simulated provider: counts them, delays new connections, and decides which fail.

Between the web server and the protocols (`openai.py`, `deepgram.py`), which know nothing of latencies or faults but
what an `Admission` says.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from firstword.rehearsal.providers.latency import Distribution, Faults, Latencies


@dataclass(frozen=True, slots=True)
class Admission:
    """How one answer is delayed, and whether it is cut."""

    delay: float
    """Seconds until the answer begins."""
    cut: bool
    """Whether the connection ends in the middle of the answer."""


def hang_up(request: web.Request) -> None:
    """Ends a request's connection, in the middle of whatever is sent. Does nothing if the client is gone."""
    if request.transport is not None:
        request.transport.abort()


class Connections:
    """Remembers TCP connections that were delayed once for being new. Providers of one server share it."""

    def __init__(self) -> None:
        self._paid: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    def is_new(self, transport: asyncio.Transport) -> bool:
        """Returns True the first time that it is asked about a connection, then False."""
        if transport in self._paid:
            return False
        self._paid.add(transport)
        return True


class Provider:
    """The delays, faults and counts of one simulated provider. `refusal` gives its JSON for an error: (status, message) -> text."""

    def __init__(
        self,
        name: str,
        latencies: Latencies,
        faults: Faults,
        connections: Connections,
        refusal: Callable[[int, str], str],
    ) -> None:
        self.name = name
        self._faults = faults
        self._connection = latencies.connection
        self._connections = connections
        self._refusal = refusal
        self._setups = latencies.stream(f"{name}.connection")
        self._refusals = latencies.stream(f"{name}.refusals")
        self._delays = latencies.stream(f"{name}.delays")
        self._answer_faults = latencies.stream(f"{name}.faults")
        self._requests = self._new = self._answers = 0

    async def admit(self, request: web.Request) -> None:
        """Counts a request, or a WebSocket's handshake, and delays one on a new connection. Raises HTTPException(503) when refused."""
        self._requests += 1
        if request.transport is not None and self._connections.is_new(request.transport):
            self._new += 1
            await asyncio.sleep(self._connection.draw(self._setups))
        if self._faults.draw(self._refusals).refused:
            raise self.error(web.HTTPServiceUnavailable, "the simulated provider refuses this request")

    def answer(self, delay: Distribution) -> Admission:
        """Draws the delay and the fault of the next answer; the delay includes a slow answer's extra time."""
        self._answers += 1
        fault = self._faults.draw(self._answer_faults)
        return Admission(delay=delay.draw(self._delays) + fault.delay, cut=fault.cut)

    def error(self, kind: type[web.HTTPError], message: str) -> web.HTTPError:
        """Returns an HTTP error with the provider's own kind of body, to be raised."""
        return kind(text=self._refusal(kind.status_code, message), content_type="application/json")

    @property
    def counts(self) -> dict[str, int]:
        """Returns the numbers of requests and handshakes, of new connections among them, and of answers begun."""
        return {"requests": self._requests, "connections": self._new, "answers": self._answers}
