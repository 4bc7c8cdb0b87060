"""A way to a server on this machine that can be shut: for `benchmarks.tune_live`, whose tuner then finds nobody there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

HOST = "127.0.0.1"


class Door:
    """A port of its own that passes everything on, unless it is shut."""

    def __init__(self, port: int) -> None:
        self._there = port
        self._own = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @staticmethod
    @contextlib.asynccontextmanager
    async def to(url: str) -> AsyncGenerator[Door]:
        """Opens one to the server at `http://HOST:PORT` of this machine; shut on exit."""
        door = Door(urlsplit(url).port or 80)
        await door.open()
        try:
            yield door
        finally:
            await door.shut()

    @property
    def url(self) -> str:
        """Its own address."""
        return f"http://{HOST}:{self._own}"

    async def open(self) -> None:
        """Passes on what comes, at the same port each time."""
        self._server = await asyncio.start_server(self._pass_on, HOST, self._own)
        self._own = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Cuts what is connected; who connects from now on is refused."""
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection(HOST, self._there)
                self._open.add(back)
                try:
                    await asyncio.gather(_copy(reader, back), _copy(there, writer))
                finally:
                    self._open.discard(back)
                    back.close()
        finally:
            self._open.discard(writer)
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await copy(reader, writer)
    if writer.can_write_eof():
        writer.write_eof()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until the reader's side ends. Raises OSError where either breaks."""
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
