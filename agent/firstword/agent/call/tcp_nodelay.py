"""Turns Nagle's algorithm off for connections that LiveKit's native client leaves it on for, so that small messages
leave at once.

Between the connect and the first message after it. The client waits for the server's acknowledgement before it sends
the next small message. The server delays its acknowledgement. So they wait for each other: 40 ms on Linux.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Final

_DESCRIPTORS: Final = "/dev/fd"
"""What this process has open, on Linux and on macOS."""


def send_at_once() -> int:
    """Turns Nagle's algorithm off for each TCP connection of this process. Returns for how many it had been on.

    livekit 1.1.21: the native client's signalling, which publishing a track sends two messages over, is a connection
    that no API gives access to. Those of other sessions in the process are set too, and lose nothing.
    """
    changed = 0
    for name in os.listdir(_DESCRIPTORS) if os.path.isdir(_DESCRIPTORS) else ():
        with contextlib.suppress(OSError):  # no socket, or closed meanwhile by whoever owns it
            changed += _set(int(name))
    return changed


def _set(descriptor: int) -> bool:
    """Whether it was a TCP connection that delayed."""
    connection = socket.socket(fileno=descriptor)
    try:
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type is not socket.SOCK_STREAM:
            return False
        if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY):
            return False
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return True
    finally:
        connection.detach()  # whose it is closes it
