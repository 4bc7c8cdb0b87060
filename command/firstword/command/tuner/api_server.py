"""Asks the Kubernetes API server as the pod's service account: reads, replaces and creates one object. Nothing else.

Below `firstword.command.tuner.config_map`. A client library brings models of all of Kubernetes, for three verbs.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts token, certificate authority and namespace into a pod."""
MANAGER = "firstword-tuner"
"""Name under which Kubernetes notes what the tuner wrote: the first part of its User-Agent."""
PATIENCE_S = 10.0
"""Seconds for an answer. A tuner that ends asks twice, and Kubernetes gives it 30 s."""
_LONGEST_ANSWER = 8 * 2**20

Json = dict[str, Any]


class ApiError(Exception):
    """Raised where the API server gives no answer to use. The message says what was expected, and a possible cause."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; None where there was no answer."""

    @property
    def is_conflict(self) -> bool:
        """Returns whether somebody else has changed the object since it was read."""
        return self.status == HTTPStatus.CONFLICT


class ApiServer:
    """One API server, and the namespace of this pod. The token is read anew for each request: Kubernetes renews it."""

    def __init__(self, url: str, folder: Path = SERVICE_ACCOUNT) -> None:
        """url: `https://HOST:PORT`; `http://` for a server on this machine. folder: has `token`, `ca.crt` and
        `namespace`. Raises ApiError.
        """
        self._url = url.rstrip("/")
        self._token = folder / "token"
        try:
            self.namespace = (folder / "namespace").read_text(encoding="utf-8").strip()
            self._opener = _opener(url, folder / "ca.crt")
        except (OSError, ssl.SSLError) as error:
            raise ApiError(
                f"{folder}: expected a service account's files; possible cause: "
                f"the pod has automountServiceAccountToken: false ({error.strerror or error})"
            ) from None
        self.clock_ahead = 0.0
        """Seconds by which the server's clock was ahead of ours at its last answer."""

    @staticmethod
    def in_cluster() -> ApiServer:
        """Returns the API server of the cluster that this pod runs in. Raises ApiError."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise ApiError(
                "KUBERNETES_SERVICE_HOST is not set; expected the environment of a pod; "
                "possible cause: --config-map is for a tuner that runs in the cluster"
            )
        return ApiServer(f"https://{f'[{host}]' if ':' in host else host}:{port}")

    def get(self, path: str) -> Json:
        """Returns the object at a path. Raises ApiError."""
        return self._ask("GET", path, None)

    def put(self, path: str, body: Json) -> Json:
        """Replaces an object, if its `resourceVersion` is still that of `body`. Returns it as it is then. Raises
        ApiError, which says where that is a conflict.
        """
        return self._ask("PUT", path, body)

    def post(self, path: str, body: Json) -> Json:
        """Creates an object below a path, and returns it. Raises ApiError."""
        return self._ask("POST", path, body)

    def _ask(self, verb: str, path: str, body: Json | None) -> Json:
        try:
            headers = {
                "Authorization": f"Bearer {self._token.read_text(encoding='utf-8').strip()}",
                "Content-Type": "application/json",
                "User-Agent": f"{MANAGER}/1",
            }
            data = None if body is None else json.dumps(body).encode()
            request = Request(self._url + path, data, headers, method=verb)  # noqa: S310 # https in a cluster, by in_cluster
            began = time.time()
            with self._opener.open(request, timeout=PATIENCE_S) as answer:
                self._note_clock(answer.headers.get("Date"), began)
                found: object = json.loads(answer.read(_LONGEST_ANSWER))
        except HTTPError as error:
            with error:
                raise ApiError(f"{verb} {path}: {error.code} {_words(error)}", error.code) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise ApiError(f"{verb} {path}: expected an answer; possible cause: {reason}") from None
        if not isinstance(found, dict):
            raise ApiError(f"{verb} {path}: expected an object")
        return cast("Json", found)

    def _note_clock(self, date: str | None, began: float) -> None:
        """The header has whole seconds, and was written at some time between the request and now."""
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        now = time.time()
        self.clock_ahead = min(theirs + 1 - began, 0.0) + max(theirs - now, 0.0)


def _opener(url: str, authority: Path) -> OpenerDirector:
    """Straight to the server, never through a proxy."""
    straight = ProxyHandler({})
    if url.startswith("https://"):
        return build_opener(straight, HTTPSHandler(context=ssl.create_default_context(cafile=str(authority))))
    return build_opener(straight)


def _words(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read(2**16))["message"])[:300]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return str(error.reason)
