"""The servers that agents with a planted fault ask: each handles one connection."""

from __future__ import annotations

import time
from socket import socket

from tests.telemetry.observed_agents import SLOW


def answer_slowly(connection: socket) -> None:
    """One line for each, after 0.3 s."""
    while connection.recv(100):
        time.sleep(SLOW)
        connection.sendall(b"answer\n")


def stream(connection: socket) -> None:
    """For each request twenty tokens, 15 ms apart."""
    while connection.recv(100):
        for _ in range(20):
            time.sleep(0.015)
            connection.sendall(b"token\n")
        connection.sendall(b"end\n")


def speak_first(connection: socket) -> None:
    """A greeting 0.3 s after the connection, then silence."""
    time.sleep(SLOW)
    connection.sendall(b"hello\n")
    connection.recv(100)
