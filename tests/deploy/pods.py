"""Runs what a rendered container says, as its platform would: its command, environment, volumes and probes, and nothing of ours.

Paths of the image lie elsewhere here: `places` maps them, and inside of an image's own root it maps nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from firstword.rehearsal.processes import started
from tests.calls.waiting import PATIENCE
from tests.deploy.rendered import DEPLOY, image_command

POD_IP = "127.0.0.1"
FIELDS = {
    "status.podIP": POD_IP,
    "metadata.name": "agents-firstword-7d5f8-x2x4z",
    "metadata.namespace": "voice",
    "spec.nodeName": "node-1",
}
"""What the downward API says of our pod."""
WORKDIR = "/app"
Secrets = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Container:
    """A container's process: what runs, with which variables and in which folder; `port` is that of its probes."""

    command: Sequence[str]
    environment: Mapping[str, str]
    port: int
    probes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Path by kind: startup, liveness, readiness."""

    def moved(self, places: Mapping[str, str]) -> Container:
        """The same, with paths of the image where they lie here."""

        def move(text: str) -> str:
            for path, place in places.items():
                text = re.sub(rf"(?<![\w.]){re.escape(path)}(?=[/:]|$)", place, text)
            return text

        variables = {name: move(value) for name, value in self.environment.items()}
        return Container(self.command, variables, self.port, self.probes)

    async def answers(self, probe: str) -> int:
        """The status of a probe; 0 where nothing answers."""
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"http://{POD_IP}:{self.port}{self.probes[probe]}") as answer,
            ):
                return answer.status
        return 0

    async def until(self, probe: str, status: int, process: Process) -> None:
        """Wait until the probe answers so. TimeoutError; AssertionError where the process has ended."""
        async with asyncio.timeout(PATIENCE):
            while await self.answers(probe) != status:
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


def of_pod(pod: Mapping[str, Any], secrets: Secrets) -> Container:
    """The only container of a pod; KeyError where a Secret or a key of it is missing, as Kubernetes would not start it."""
    (container,) = pod["containers"]
    environment = _image_environment()
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if secret := source.get("secretKeyRef"):
            value = secrets[secret["name"]][secret["key"]]
        elif source:
            value = FIELDS[source["fieldRef"]["fieldPath"]]
        else:
            value = re.sub(r"\$\((\w+)\)", lambda name: environment[name[1]], variable["value"])
        environment[variable["name"]] = value
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    (port,) = {probe["port"] for probe in probes.values()}
    paths = {kind: probe["path"] for kind, probe in probes.items()}
    return Container(container.get("args") or image_command(), environment, port, paths)


def mounts(pod: Mapping[str, Any], manifests: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, str]:
    """Path of each volume in the container -> a folder here, empty or with the files of its ConfigMap."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    places: dict[str, str] = {}
    for mount in pod["containers"][0]["volumeMounts"]:
        place = folder / mount["name"]
        place.mkdir(parents=True)
        places[mount["mountPath"]] = str(place)
        if named := volumes[mount["name"]].get("configMap"):
            (source,) = [
                each for each in manifests if each["kind"] == "ConfigMap" and each["metadata"]["name"] == named["name"]
            ]
            for name, content in source["data"].items():
                (place / name).write_text(content)
    return places


def _image_environment() -> dict[str, str]:
    """The variables that the last stage of the Dockerfile sets."""
    last_stage = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    (line,) = re.findall(r"^ENV (.*)$", last_stage, re.M)
    variables = dict(pair.split("=", 1) for pair in line.split())
    return {**variables, "PATH": variables["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")}
