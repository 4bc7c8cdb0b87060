"""Tells the platform how a worker is: `/healthz` and `/readyz` on the worker's port, and gauges over OTLP.

For the shipped worker, and for any LiveKit agent that calls `serve_health`. docs/health.md is the page.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from aiohttp import web
from livekit.agents import AgentServer
from opentelemetry import metrics as otel_metrics
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider

from firstword.agent import livekit_private
from firstword.agent.worker_gauges import JobProcesses, WorkerFigures, observe_worker
from firstword.telemetry import metrics
from firstword.telemetry.observed_export import agents_provider
from firstword.telemetry.service import service_resource

logger = logging.getLogger("firstword")

DRAIN: Final = "FIRSTWORD_DRAIN"
"""Variable: seconds that a worker which ends gives its calls."""


def serve_health(server: AgentServer) -> None:
    """Has a worker answer `/healthz` and `/readyz` on its port, and export gauges where `OTEL_EXPORTER_OTLP_ENDPOINT`
    names a collector.

    Call it where the server is made, before it runs. `FIRSTWORD_DRAIN`, if it is set, becomes the server's
    `drain_timeout`. Raises ValueError if that is no whole number of seconds above 0. The gauges go to the SDK's meter
    provider if the agent has set one.
    """
    if text := os.environ.get(DRAIN):
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise ValueError(f"{DRAIN} is {text!r}; expected a whole number of seconds, 1 or more")
        server.update_options(drain_timeout=int(text))
    health = Health(server)
    run = server.run

    async def observed(*, devmode: bool = False, unregistered: bool = False) -> None:
        with _meter() as meter:
            async with health.observed(meter):
                await run(devmode=devmode, unregistered=unregistered)

    setattr(server, "run", observed)  # noqa: B010 - a type checker takes methods for fixed


@contextmanager
def _meter() -> Generator[Meter]:
    """firstword's meter of the agent's own provider, or of one that ends with the worker.

    That one exports under the name of the agent's spans.
    """
    present = otel_metrics.get_meter_provider()
    if isinstance(present, MeterProvider):
        yield metrics.meter_of(present)
        return
    traces = agents_provider()
    named = service_resource() if traces is None else traces.resource
    own = metrics.meter_provider(named, metrics.exporter_from_environment())
    try:
        yield metrics.meter_of(own)
    finally:
        own.shutdown(timeout_millis=metrics.EXPORT_AT_END_MS)


class Health:
    """How one worker is, from what LiveKit tells of it. Make it before the worker runs."""

    def __init__(self, server: AgentServer, *, host: str = "") -> None:
        """host: where the probes are answered if LiveKit's own server takes no routes; empty: on all addresses."""
        self._server = server
        self._host = host
        self._processes = JobProcesses()
        self._started = self._taken = self._routed = False
        self._ending_since: float | None = None
        self._own: web.AppRunner | None = None
        livekit_private.when_set(server, livekit_private.HTTP_SERVER, self._add_routes)
        livekit_private.when_set(server, livekit_private.PROC_POOL, self._follow)
        server.on("worker_started", self._note_started)
        server.on("worker_registered", self._note_registered)
        for ending in ("drain", "aclose"):
            self._note_before(ending)

    @asynccontextmanager
    async def observed(self, meter: Meter) -> AsyncGenerator[None]:
        """Context manager around the worker's run: reports on this meter, and answers probes where LiveKit's server
        can't.
        """
        observe_worker(meter, self.figures, self._processes)
        try:
            yield
        finally:
            if self._own is not None:
                await self._own.cleanup()

    def figures(self) -> WorkerFigures:
        """Returns how the worker is now."""
        return WorkerFigures(
            jobs=len(self._server.active_jobs) if self._started else 0,
            load=livekit_private.WORKER_LOAD.of(self._server),
            full=self._full(),
            registered=self._registered(),
            ready=self.not_ready() is None,
            draining=self._ending,
            drain_used=self._drain_used(),
            idle_processes=self._processes.idle if self._processes.known else None,
        )

    def not_ready(self) -> str | None:
        """Returns in one line why the worker can take no job, or None if it can. A full one can, in a while."""
        if self._ending:
            return "draining: no new call is taken, and it ends after those that run"
        if not self._registered():
            connecting = livekit_private.CONNECTING.of(self._server)
            return "not registered: no LiveKit server has it" if connecting else "starting"
        if self._processes.failing and not self._processes.idle:
            return "no process for a job could be started; the log says why"
        return None

    @property
    def _ending(self) -> bool:
        return self._ending_since is not None

    def _drain_used(self) -> float | None:
        limit = livekit_private.DRAIN_TIMEOUT.of(self._server)
        if self._ending_since is None or not limit:
            return None
        return min((time.monotonic() - self._ending_since) / limit, 1.0)

    def _registered(self) -> bool:
        return self._taken and not livekit_private.CONNECTING.of(self._server)

    def _full(self) -> bool | None:
        available = livekit_private.AVAILABLE.of(self._server)
        if available is None or not self._started:
            return None
        return not self._ending and not available()

    async def _healthz(self, _: web.Request) -> web.Response:
        inference = livekit_private.INFERENCE.of(self._server)
        if inference is not None and not inference.is_alive():
            return web.Response(status=503, text="the inference process is dead\n")
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self.not_ready()
        return web.Response(text=f"{reason or 'ready'}\n", status=200 if reason is None else 503)

    def _routes(self) -> list[web.RouteDef]:
        return [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)]

    def _add_routes(self, made: Any) -> None:
        app = getattr(made, "app", None)
        if isinstance(app, web.Application):
            app.add_routes(self._routes())
            self._routed = True

    def _follow(self, pool: Any) -> None:
        if callable(getattr(pool, "on", None)):
            self._processes.follow(pool)

    def _note_started(self) -> None:
        self._started = True
        if not self._routed:
            self._serving = asyncio.get_running_loop().create_task(self._serve_beside())

    def _note_registered(self, *_: object) -> None:
        self._taken = True

    def _note_before(self, ending: str) -> None:
        method = getattr(self._server, ending)

        async def noted(*arguments: Any, **options: Any) -> None:
            if self._ending_since is None:
                self._ending_since = time.monotonic()
            await method(*arguments, **options)

        setattr(self._server, ending, noted)

    async def _serve_beside(self) -> None:
        """Answer on the next port, since LiveKit's server takes no routes."""
        app = web.Application()
        app.add_routes(self._routes())
        self._own = web.AppRunner(app)
        await self._own.setup()
        port = self._server.worker_info.http_port + 1
        try:
            await web.TCPSite(self._own, self._host, port).start()
        except OSError as error:
            logger.warning("/healthz and /readyz are nowhere: port %d is not to be had (%s)", port, error.strerror)
        else:
            logger.warning("/healthz and /readyz are on port %d: this version of LiveKit takes no routes", port)
