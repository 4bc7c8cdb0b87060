"""One tuner at a time in a cluster: a Lease of coordination.k8s.io, which the one that works renews at each look.

Below `firstword.command.tuner.config_map`. As in client-go, nobody's clock is compared with another's. A Lease has
expired when this tuner has seen it unchanged for as long as it says. Even a tuner that was wrong about it could not
write: the ConfigMap's `resourceVersion` lets one of two writers through.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from firstword.agent.flags.flag_file import FlagFileError
from firstword.command.tuner.api_server import ApiError, ApiServer, Json

LEASE_S = 180
"""Seconds after which another tuner takes over from one that renews its Lease no more."""


class KubernetesLease:
    """A Lease by its name, which must exist: the Role need not allow to create any."""

    def __init__(
        self, server: ApiServer, name: str, lasts: int = LEASE_S, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """lasts: seconds after which another tuner takes over. clock: seconds that only go forward."""
        self._server = server
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{server.namespace}/leases/{name}"
        self._clock = clock
        self._lasts = lasts
        self._identity = f"{os.uname().nodename}-{uuid.uuid4().hex[:8]}"
        self._version: str | None = None
        self._seen_at = 0.0
        """When this version of the Lease was first seen."""

    def hold(self) -> str | None:
        """Takes the Lease, or renews it. Returns None if it is ours, else who has it. Raises FlagFileError."""
        try:
            found = self._server.get(self._path)
            holder = self._other_holder(found)
            if holder is not None:
                return holder
            self._server.put(self._path, self._ours(found))
        except ApiError as error:
            if error.is_conflict:
                return "another tuner, which has just taken the Lease"
            raise FlagFileError(f"{self._path}: {error}") from None
        return None

    def release(self) -> None:
        """Empties the Lease if it is ours. Without an answer it expires."""
        try:
            found = self._server.get(self._path)
            if _spec(found).get("holderIdentity") == self._identity:
                _spec(found)["holderIdentity"] = ""
                self._server.put(self._path, found)
        except ApiError:
            return

    def _other_holder(self, found: Json) -> str | None:
        """Who has the Lease, if it is somebody else, and it has not expired."""
        version = str(cast("dict[str, Any]", found.get("metadata", {})).get("resourceVersion"))
        if version != self._version:
            self._version, self._seen_at = version, self._clock()
        spec = _spec(found)
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return None
        lasts = spec.get("leaseDurationSeconds")
        lasts = lasts if isinstance(lasts, int) and lasts > 0 else LEASE_S
        return None if self._clock() - self._seen_at > lasts else str(holder)

    def _ours(self, found: Json) -> Json:
        spec = _spec(found)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if spec.get("holderIdentity") != self._identity:
            spec |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        spec |= {"holderIdentity": self._identity, "renewTime": now, "leaseDurationSeconds": self._lasts}
        return found


def _spec(found: Json) -> dict[str, Any]:
    if not isinstance(found.get("spec"), dict):
        found["spec"] = {}
    return cast("dict[str, Any]", found["spec"])
