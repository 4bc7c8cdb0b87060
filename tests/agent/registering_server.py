"""A LiveKit server as a worker sees it: takes its registration, can be away, and can give a job whose room is never joined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from livekit.protocol import agent


@dataclass
class Registering:
    """One that runs: its address, and the way to be away."""

    url: str = ""
    away: bool = False
    joining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a job tries to join its room."""
    _open: set[web.WebSocketResponse] = field(default_factory=set[web.WebSocketResponse])

    async def go(self) -> None:
        """Ends its connections and takes no more until `away` is False."""
        self.away = True
        await asyncio.gather(*(each.close() for each in self._open))

    async def give_job(self) -> None:
        """Dispatches one to the worker. It joins a room that never lets it in, so it runs until something ends it."""
        offer = agent.ServerMessage()
        offer.availability.job.id = "AJ_one"
        offer.availability.job.room.name = "room"
        (socket,) = self._open
        await socket.send_bytes(offer.SerializeToString())
        await self.joining.wait()

    async def let_nobody_in(self, _: web.Request) -> web.StreamResponse:
        """A job comes to its room."""
        self.joining.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def take(self, request: web.Request) -> web.StreamResponse:
        """A worker comes."""
        if self.away:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._open.add(socket)
        await socket.receive_bytes()
        answer = agent.ServerMessage()
        answer.register.worker_id = "AW_one"
        await socket.send_bytes(answer.SerializeToString())
        async for message in socket:
            said = agent.WorkerMessage.FromString(message.data)
            if said.availability.available:
                answer = agent.ServerMessage()
                answer.assignment.job.id = said.availability.job_id
                answer.assignment.url, answer.assignment.token = self.url, "token"
                await socket.send_bytes(answer.SerializeToString())
        self._open.discard(socket)
        return socket


@asynccontextmanager
async def registering_server(host: str = "127.0.0.1") -> AsyncGenerator[Registering]:
    """Runs it on this loop."""
    server = Registering()
    app = web.Application()
    app.add_routes([web.get("/agent", server.take), web.get("/rtc{more:.*}", server.let_nobody_in)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    address = f"[{host}]" if ":" in host else host
    server.url = f"ws://{address}:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await server.go()
        await runner.cleanup()
