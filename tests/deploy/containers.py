"""Runs what a container's description says, as its platform would: its command, environment and probes, and nothing of ours.

Paths and addresses that lie elsewhere here are replaced by `Container.moved`; in a root of its own nothing is.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import aiohttp

from firstword.rehearsal.processes import started
from tests.calls.waiting import PATIENCE
from tests.deploy.rendered import DEPLOY


class Probe(Protocol):
    """A question that the platform asks a container again and again."""

    async def passes(self, container: Container) -> bool:
        """Whether the answer is well."""
        ...

    def moved(self, move: Callable[[str], str]) -> Probe:
        """The same with each text replaced."""
        ...


@dataclass(frozen=True)
class HttpProbe:
    """A GET, as a kubelet does it."""

    url: str

    async def passes(self, container: Container) -> bool:
        """Whether it answers, with a status below 400."""
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as http, http.get(self.url) as answer:
                return answer.status < 400
        return False

    def moved(self, move: Callable[[str], str]) -> HttpProbe:
        """The same with a replaced address."""
        return HttpProbe(move(self.url))


@dataclass(frozen=True)
class CommandProbe:
    """A command in the container, as Docker runs one."""

    command: Sequence[str]

    async def passes(self, container: Container) -> bool:
        """Whether it ends with 0."""
        environment = container.environment
        run = await asyncio.create_subprocess_exec(*self.command, env=environment, stdout=DEVNULL, stderr=DEVNULL)
        return await run.wait() == 0

    def moved(self, move: Callable[[str], str]) -> CommandProbe:
        """The same with replaced arguments."""
        return CommandProbe([move(argument) for argument in self.command])


@dataclass(frozen=True)
class Container:
    """A container's process: what runs, with which variables, and what its platform asks and grants it."""

    command: Sequence[str]
    environment: Mapping[str, str]
    probes: Mapping[str, Probe]
    """By kind: `readiness`, and `startup` and `liveness` where the platform has them."""
    grace: float
    """Seconds after SIGTERM until the platform would kill it."""

    def moved(self, places: Mapping[str, str]) -> Container:
        """The same, with paths, addresses and ports where they are here."""

        def move(text: str) -> str:
            for there, here in places.items():
                text = re.sub(rf"(?<![\w.]){re.escape(there)}(?![\w.])", here, text)
            return text

        return replace(
            self,
            command=[move(argument) for argument in self.command],
            environment={name: move(value) for name, value in self.environment.items()},
            probes={kind: probe.moved(move) for kind, probe in self.probes.items()},
        )

    async def passes(self, kind: str) -> bool:
        """Whether a probe passes now."""
        return await self.probes[kind].passes(self)

    async def until(self, kind: str, process: Process, *, passes: bool) -> None:
        """Wait until a probe passes, or does not any more. TimeoutError; AssertionError where the process has ended."""
        async with asyncio.timeout(PATIENCE):
            while await self.passes(kind) != passes:
                assert process.returncode is None, f"the container ended with {process.returncode}"
                await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def running(
        self, log: Path, *, within: Sequence[str] = (), folder: Path | None = None
    ) -> AsyncGenerator[Process]:
        """The process in `folder`, with the container's variables alone; gone on exit. `within` runs what follows it."""
        command = (*within, *self.command)
        with log.open("ab") as output:
            run = started(command, self.environment, inherit=False, output=output.fileno(), folder=folder)
            async with run as process:
                yield process


def image_environment() -> dict[str, str]:
    """The variables that the last stage of the Dockerfile sets."""
    last_stage = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    (line,) = re.findall(r"^ENV (.*)$", last_stage, re.M)
    variables = dict(pair.split("=", 1) for pair in line.split())
    return {**variables, "PATH": variables["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")}
