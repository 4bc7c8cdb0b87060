"""An API server of ours that keeps what Helm puts there: enough of Kubernetes for install, upgrade, rollback and uninstall."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.tuning.answering import handling

Json = dict[str, Any]

_MAGIC, _PROTOBUF = b"k8s\x00", "application/vnd.kubernetes.protobuf"
KINDS: Mapping[str, Mapping[str, str]] = {
    "v1": {"ConfigMap": "configmaps", "Secret": "secrets", "ServiceAccount": "serviceaccounts"},
    "apps/v1": {"Deployment": "deployments"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "rbac.authorization.k8s.io/v1": {"Role": "roles", "RoleBinding": "rolebindings"},
    "coordination.k8s.io/v1": {"Lease": "leases"},
}
"""Of each API, what the chart makes, and Helm's own Secrets: kind -> name in paths."""


@dataclass
class HelmCluster:
    """Objects by path; releases, which Helm sends as protobuf, as the bytes of a Secret by its path."""

    releases: dict[str, bytes] = field(default_factory=dict[str, bytes])
    objects: dict[str, Json] = field(default_factory=dict[str, Json])
    versions: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: list[str] = field(default_factory=list[str])

    def answer(self, verb: str, path: str, query: Mapping[str, list[str]], body: Json | None) -> tuple[int, Json]:
        """Status and body."""
        with self.lock:
            self.asked.append(f"{verb} {path}")
            if (found := _discovered(path)) is not None:
                return 200, found
            if verb == "POST":
                assert body is not None
                own = f"{path}/{body['metadata']['name']}"
                if own in self.objects:
                    return _status(409, "AlreadyExists")
                return 201, self._keep(own, body)
            if verb == "PATCH":
                assert body is not None
                return 200, self._keep(path, _merged(self.objects.get(path, {}), body))
            if path.rpartition("/")[2] in {name for kinds in KINDS.values() for name in kinds.values()}:
                return 200, self._listed(path, query)
            if path not in self.objects:
                return _status(404, "NotFound")
            if verb == "PUT":
                assert body is not None
                return 200, self._keep(path, body)
            return 200, self.objects.pop(path) if verb == "DELETE" else self.objects[path]

    def release(self, verb: str, path: str, query: Mapping[str, list[str]], body: bytes) -> tuple[int, bytes]:
        """The same for Helm's records of what it did."""
        with self.lock:
            secret = _raw(body) if body else b""
            if verb == "POST":
                path += "/" + re.findall(rb"sh\.helm\.release\.v1\.[\w.-]+", secret)[0].decode()
            if verb in ("POST", "PUT"):
                self.releases[path] = secret
                return 201 if verb == "POST" else 200, _wrapped("Secret", secret)
            if path.endswith("/secrets"):
                wanted = [pair.split("=") for pair in ",".join(query.get("labelSelector", [])).split(",") if pair]
                labels = [_part(1, key.encode()) + _part(2, value.encode()) for key, value in wanted]
                found = [each for each in self.releases.values() if all(label in each for label in labels)]
                return 200, _wrapped("SecretList", _part(1, b"") + b"".join(_part(2, each) for each in found))
            if path not in self.releases:
                return 404, b""
            return 200, _wrapped("Secret", self.releases.pop(path) if verb == "DELETE" else self.releases[path])

    def _keep(self, path: str, body: Json) -> Json:
        self.versions += 1
        metadata = {**body.get("metadata", {}), "resourceVersion": str(self.versions), "uid": path}
        self.objects[path] = {**body, "metadata": metadata}
        return self.objects[path]

    def _listed(self, path: str, query: Mapping[str, list[str]]) -> Json:
        wanted = dict(pair.split("=", 1) for pair in ",".join(query.get("labelSelector", [])).split(",") if "=" in pair)
        items = [
            each
            for own, each in self.objects.items()
            if own.startswith(f"{path}/") and wanted.items() <= each["metadata"].get("labels", {}).items()
        ]
        return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": str(self.versions)}, "items": items}


def _discovered(path: str) -> Json | None:
    """What Helm asks first: which version this is, and which kinds there are."""
    if path == "/version":
        return {"major": "1", "minor": "30", "gitVersion": "v1.30.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/openapi/v3":
        return {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}}
    if path == "/openapi/v3/api/v1":  # says that fields are checked here, so that Helm need not
        patch = {
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "x-kubernetes-group-version-kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        }
        return {"openapi": "3.0.0", "paths": {"/api/v1/namespaces/{namespace}/configmaps/{name}": {"patch": patch}}}
    if path == "/apis":
        versions = [{"groupVersion": api, "version": "v1"} for api in KINDS if api != "v1"]
        groups = [
            {"name": each["groupVersion"].partition("/")[0], "versions": [each], "preferredVersion": each}
            for each in versions
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    api = path.removeprefix("/apis/").removeprefix("/api/")
    if api not in KINDS:
        return None
    verbs = ["get", "list", "create", "update", "patch", "delete", "watch"]
    resources = [
        {"name": name, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": verbs}
        for kind, name in KINDS[api].items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": resources}


def _part(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that is text, bytes or a message."""
    size, varint = len(content), b""
    while size > 127:
        varint, size = varint + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + varint + bytes([size]) + content


def _wrapped(kind: str, raw: bytes) -> bytes:
    """Kubernetes' envelope of a protobuf message: `runtime.Unknown`, with its kind."""
    return _MAGIC + _part(1, _part(1, b"v1") + _part(2, kind.encode())) + _part(2, raw)


def _raw(content: bytes) -> bytes:
    """What is in such an envelope."""
    rest = content.removeprefix(_MAGIC)
    while rest:
        number, size, shift, at = rest[0] >> 3, 0, 0, 1
        while True:
            size |= (rest[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if not rest[at - 1] & 128:
                break
        if number == 2:
            return rest[at : at + size]
        rest = rest[at + size :]
    raise ValueError("expected an envelope with a message in it")


def _status(code: int, reason: str) -> tuple[int, Json]:
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "code": code,
        "message": reason,
    }


def _merged(old: Json, new: Json) -> Json:
    """The old object with what the new one says: a key without a value goes, lists are replaced."""
    merged = dict(old)
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], cast("Json", value))
        else:
            merged[key] = value
    return merged


@contextmanager
def serving_helm(cluster: HelmCluster) -> Generator[str]:
    """Its address on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query, kind = parse_qs(parts.query), "application/json"
            if "/secrets" in parts.path:
                code, content = cluster.release(self.command, parts.path, query, body)
                kind = _PROTOBUF if content else kind
            else:
                asked = yaml.safe_load(body) if body else None
                code, found = cluster.answer(self.command, parts.path, query, asked)
                content = json.dumps(found).encode()
            if not content:
                content = json.dumps(_status(code, "NotFound")[1]).encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on standard error."""

    with handling(Handler) as url:
        yield url
