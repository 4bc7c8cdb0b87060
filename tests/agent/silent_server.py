"""A server that accepts connections and never answers: a paused pooler, a database behind a lock, a lost firewall rule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


@asynccontextmanager
async def silent_server() -> AsyncGenerator[int]:
    """Runs it on this loop; gives its port on 127.0.0.1."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
