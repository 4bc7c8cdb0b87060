"""Makes the servers available that a run needs, before it begins: `python tools/servers.py livekit-server=3 jaeger=8`.

The numbers are the minutes that a build takes on two cores. Nothing is printed where nothing has to be built.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from firstword.command.progress import Lines
from firstword.command.signals import end_as_by_ctrl_c
from firstword.rehearsal.servers import SERVERS, LocalServer, NoServer, find, go_toolchain, installed

BY_NAME = {server.name: server for server in SERVERS}
COMPILER = Path(__file__).parents[1] / "requirements-go.lock"


async def main(wanted: dict[str, str]) -> None:
    """Say what has to be built and how long that takes, then build it. Raises NoServer, CalledProcessError."""
    missing = [BY_NAME[name] for name in wanted if not await installed(BY_NAME[name])]
    if missing:
        say(f"To build, once on this machine: {', '.join(_timed(server, wanted[server.name]) for server in missing)}.")
        if go_toolchain() is None:
            say("Installing Go, which builds them (a quarter of a minute) ...")
            _install_go()
    for name in wanted:
        await find(BY_NAME[name], Lines(say))


def _timed(server: LocalServer, minutes: str) -> str:
    return f"{server.name} {server.version} (about {minutes} minutes)"


def _install_go() -> None:
    """As a wheel, and only where it is needed: it is large."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
    subprocess.run((*pip, "-r", COMPILER), check=True)


def say(line: str) -> None:
    """At once, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    end_as_by_ctrl_c()
    try:
        asyncio.run(main(dict(argument.split("=") for argument in sys.argv[1:])))
    except NoServer as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError:
        sys.exit("Go could not be installed; possible cause: no package index is reached. Go on PATH will do as well")
    except KeyboardInterrupt:
        sys.exit(130)
