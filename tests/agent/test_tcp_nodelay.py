"""Connections that send small messages at once: the process's own TCP ones, and nothing else is touched."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from livekit import rtc

from firstword.agent.call import tcp_nodelay
from firstword.agent.call.tcp_nodelay import send_at_once
from firstword.rehearsal.callers import join_token
from firstword.rehearsal.stack import LocalStack


def delays(connection: socket.socket) -> bool:
    return not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_tcp_connections_and_nothing_else(family: socket.AddressFamily, tmp_path: Path) -> None:
    """Each once; files, pipes and datagrams are left alone, and no descriptor is left open."""
    host = "127.0.0.1" if family is socket.AF_INET else "::1"
    send_at_once()
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as connection,
        socket.socket(family, socket.SOCK_DGRAM),
        (tmp_path / "file").open("w"),
    ):
        pipe = os.pipe()
        assert delays(connection)
        open_before = set(os.listdir("/dev/fd"))
        assert send_at_once() == 2  # the server's socket too: what it accepts has it
        assert not delays(connection)
        assert send_at_once() == 0
        assert set(os.listdir("/dev/fd")) == open_before
        connection.sendall(b"as before")
        for end in pipe:
            os.close(end)


def test_where_descriptors_cant_be_listed_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveKit's client is slower there, as without us."""
    monkeypatch.setattr(tcp_nodelay, "_DESCRIPTORS", "/dev/nowhere")
    assert send_at_once() == 0


@pytest.mark.livekit
async def test_livekits_signalling_delays_without_it(tmp_path: Path) -> None:
    """The reason for all this: when an upgrade of LiveKit's client makes it fail, delete it."""
    async with LocalStack(tmp_path) as stack:
        send_at_once()
        room = rtc.Room()
        await room.connect(stack.livekit_url, join_token(stack, room="undelayed", identity="agent"))
        try:
            assert send_at_once() > 0
        finally:
            await room.disconnect()
