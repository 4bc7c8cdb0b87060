"""A server that accepts connections and never answers: a paused pooler, a database behind a lock, a lost firewall rule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Silent:
    """One that runs: its port on 127.0.0.1, and whether somebody has connected."""

    port: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def silent_server() -> AsyncGenerator[Silent]:
    """Runs it on this loop."""
    silent = Silent()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.asked.set()
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        silent.port = server.sockets[0].getsockname()[1]
        yield silent
