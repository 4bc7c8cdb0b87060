"""An API server on loopback with what the tuner needs of Kubernetes: `resourceVersion`, conflicts, a token, and a Role."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.tuning.answering import handling

CONFIG_MAPS = "/api/v1/namespaces/voice/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/voice/leases"
EVENTS = "/api/v1/namespaces/voice/events"
NAME = "firstword-flags"


@dataclass
class Cluster:
    """Objects by path, and who may do what: the Role of docs/tuner.md."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    role: set[tuple[str, str]] = field(
        default_factory=lambda: {
            *((verb, f"{group}/{NAME}") for verb in ("GET", "PUT") for group in (CONFIG_MAPS, LEASES)),
            ("POST", EVENTS),
        }
    )
    token: str = "first"
    ahead_s: float = 0.0
    """Of its clock."""
    down: bool = False
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    versions: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store an object under its next version."""
        self.versions += 1
        metadata = {**body.get("metadata", {}), "name": path.rpartition("/")[2], "resourceVersion": str(self.versions)}
        self.objects[path] = {**body, "metadata": metadata}
        return self.objects[path]

    def answer(self, verb: str, path: str, token: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        with self.lock:
            self.asked.append((verb, path))
            if self.down:
                return 503, {"message": "apiserver is shutting down"}
            if token != f"Bearer {self.token}":
                return 401, {"message": "Unauthorized"}
            if (verb, path) not in self.role:
                return 403, {"message": f"cannot {verb} {path}: forbidden"}
            if verb == "POST":
                self.events.append(body or {})
                return 201, body or {}
            present = self.objects.get(path)
            if present is None:
                return 404, {"message": f"{path} not found"}
            if verb == "GET" or body is None:
                return 200, present
            if body["metadata"].get("resourceVersion") != present["metadata"]["resourceVersion"]:
                return 409, {"message": "the object has been modified; please apply your changes to the latest version"}
            return 200, self.put(path, body)


@contextmanager
def serving_cluster(cluster: Cluster) -> Generator[str]:
    """The server's address."""

    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time.time()) + cluster.ahead_s, usegmt=True)

        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, found = cluster.answer(self.command, self.path, self.headers.get("authorization", ""), body)
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = _do

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on standard error."""

    with handling(Handler) as url:
        yield url


def service_account(folder: Path, token: str = "first") -> Path:
    """A folder as Kubernetes mounts it into a pod, without an authority: the server here has no certificate."""
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    (folder / "namespace").write_text("voice")
    return folder
