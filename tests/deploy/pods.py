"""The chart's pod as a container that can be run here: what its manifest says, with the Secret and the downward API filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.deploy.containers import Container, HttpProbe, image_environment
from tests.deploy.rendered import image_command

POD_IP = "127.0.0.1"
FIELDS = {
    "metadata.name": "agents-firstword-7d5f8-x2x4z",
    "metadata.namespace": "voice",
    "spec.nodeName": "node-1",
}
"""What the downward API says of our pod, beside its address."""
WORKDIR = "/app"
Secrets = Mapping[str, Mapping[str, str]]


def of_pod(pod: Mapping[str, Any], secrets: Secrets, *, ip: str = POD_IP) -> Container:
    """The only container of a pod; KeyError where a Secret or a key of it is missing, as Kubernetes would not start it."""
    (container,) = pod["containers"]
    fields = {**FIELDS, "status.podIP": ip}
    environment = image_environment()
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if secret := source.get("secretKeyRef"):
            value = secrets[secret["name"]][secret["key"]]
        elif source:
            value = fields[source["fieldRef"]["fieldPath"]]
        else:
            value = re.sub(r"\$\((\w+)\)", lambda name: environment[name[1]], variable["value"])
        environment[variable["name"]] = value
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    host = f"[{ip}]" if ":" in ip else ip
    probes = {kind: HttpProbe(f"http://{host}:{get['port']}{get['path']}") for kind, get in asked.items()}
    command = container.get("args") or image_command()
    return Container(command, environment, probes, pod["terminationGracePeriodSeconds"])


def mounts(pod: Mapping[str, Any], manifests: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Path]:
    """Path of each volume in the container -> a folder here, empty or with the files of its ConfigMap."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    places: dict[str, Path] = {}
    for mount in pod["containers"][0]["volumeMounts"]:
        place = folder / mount["name"]
        place.mkdir(parents=True)
        places[mount["mountPath"]] = place
        if named := volumes[mount["name"]].get("configMap"):
            (source,) = [
                each for each in manifests if each["kind"] == "ConfigMap" and each["metadata"]["name"] == named["name"]
            ]
            for name, content in source["data"].items():
                (place / name).write_text(content)
    return places
