"""The flags in a Kubernetes ConfigMap, which workers mount. The tuner reads and replaces that one object.

Beside `firstword.command.tuner.flag_store`, whose protocol it has. All is in the one object, so that one request
changes flags, history and the flags before together, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from firstword.agent.flags.flag_file import FlagFileError, parse
from firstword.agent.flags.improvements import DRAWN
from firstword.agent.flags.writer import Move, moved
from firstword.command.tuner.api_server import MANAGER, ApiError, ApiServer, Json
from firstword.command.tuner.flag_store import Lease, StoredFlags
from firstword.command.tuner.history import HistoryEntry, as_text, from_text
from firstword.command.tuner.kubernetes_lease import LEASE_S, KubernetesLease

KEY = "flags.json"
"""Key of the ConfigMap's data that workers mount as a file."""
PREVIOUS, HISTORY = f"{KEY}.previous", f"{KEY}.history"
PAUSED = "firstword/paused"
"""Annotation of the ConfigMap that stops the tuner, whatever its value."""


class ConfigMapStore:
    """A ConfigMap with a flag file at `flags.json`, and a Lease of the same name. An annotation pauses the tuner."""

    def __init__(self, server: ApiServer, name: str, lease_s: int = LEASE_S) -> None:
        """lease_s: see `KubernetesLease`."""
        self.name = f"ConfigMap {server.namespace}/{name}"
        self._server = server
        self._object = name
        self._path = f"/api/v1/namespaces/{server.namespace}/configmaps/{name}"
        self._read: Json | None = None
        self.lease: Lease = KubernetesLease(server, name, lease_s)

    @property
    def clock_ahead(self) -> float:
        """Returns by how many seconds the API server's clock is ahead of ours."""
        return self._server.clock_ahead

    def read(self) -> StoredFlags:
        """Reads the ConfigMap. Raises FlagFileError."""
        found = self._read = self._get()
        text = _data(found).get(KEY)
        if not isinstance(text, str):
            raise FlagFileError(f"{self.name}: expected the key {KEY} in its data")
        try:
            file = parse(text.encode(), DRAWN)
        except FlagFileError as error:
            raise FlagFileError(f"{self.name}: {error}") from None
        reason = _annotations(found).get(PAUSED)
        paused = None if reason is None else f"the annotation {PAUSED} is there: {reason or '-'}"
        return StoredFlags(self.name, file, _changed(found), paused)

    def write(self, moves: Sequence[Move], entries: Sequence[HistoryEntry]) -> str:
        """Replaces the object that was read last, with its flags moved. Raises FlagFileError."""
        found = self._read or self._get()
        self._read = None
        data = _data(found)
        try:
            content = moved(parse(data[KEY].encode(), DRAWN), moves, DRAWN)
        except FlagFileError as error:
            raise FlagFileError(f"{self.name}: {error}") from None
        data |= {KEY: content.decode(), PREVIOUS: data[KEY], HISTORY: _longer(data, entries)}
        self._put(found)
        self._tell(entries)
        return f"Written to {self.name}; before: {PREVIOUS}"

    def record(self, entries: Sequence[HistoryEntry]) -> None:
        """Adds to the history. Raises FlagFileError."""
        found = self._get()
        _data(found)[HISTORY] = _longer(_data(found), entries)
        self._put(found)

    def history(self) -> list[HistoryEntry]:
        """Returns what the tuner did. Raises FlagFileError."""
        return from_text(str(_data(self._get()).get(HISTORY, "")))

    def pause(self, reason: str | None) -> None:
        """Sets or removes the annotation. Raises FlagFileError."""
        found = self._get()
        annotations = _annotations(found)
        if reason is None:
            annotations.pop(PAUSED, None)
        else:
            annotations[PAUSED] = reason
        self._put(found)

    def _get(self) -> Json:
        try:
            return self._server.get(self._path)
        except ApiError as error:
            raise FlagFileError(f"{self.name}: {error}") from None

    def _put(self, changed: Json) -> None:
        try:
            self._server.put(self._path, changed)
        except ApiError as error:
            if error.is_conflict:
                raise FlagFileError(
                    f"{self.name}: expected the object as it was read; possible cause: somebody changed it"
                ) from None
            raise FlagFileError(f"{self.name}: {error}") from None

    def _tell(self, entries: Sequence[HistoryEntry]) -> None:
        """Events of the ConfigMap, for `kubectl get events`. The flags have moved; without the event's right they have too."""
        for entry in entries:
            event: Json = {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"generateName": f"{self._object}.", "namespace": self._server.namespace},
                "involvedObject": {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": self._object,
                    "namespace": self._server.namespace,
                },
                "type": "Warning" if entry.action == "turn_back" else "Normal",
                "reason": entry.action.replace("_", " ").title().replace(" ", ""),
                "message": f"{entry.what}; {entry.reason}"[:1000],
                "firstTimestamp": _zulu(entry.time),
                "lastTimestamp": _zulu(entry.time),
                "count": 1,
                "source": {"component": MANAGER},
            }
            try:
                self._server.post(f"/api/v1/namespaces/{self._server.namespace}/events", event)
            except ApiError:
                return


def _data(found: Json) -> dict[str, Any]:
    return cast("dict[str, Any]", found.setdefault("data", {}))


def _annotations(found: Json) -> dict[str, Any]:
    metadata = cast("dict[str, Any]", found.setdefault("metadata", {}))
    if not isinstance(metadata.get("annotations"), dict):
        metadata["annotations"] = {}
    return cast("dict[str, Any]", metadata["annotations"])


def _longer(data: dict[str, Any], entries: Sequence[HistoryEntry]) -> str:
    return as_text([*from_text(str(data.get(HISTORY, ""))), *entries])


def _changed(found: Json) -> float:
    """When somebody other than a tuner last changed it, by the fields' managers; else when it was made."""
    metadata = cast("dict[str, Any]", found.get("metadata", {}))
    managers = cast("list[dict[str, Any]]", metadata.get("managedFields") or [])
    times = [each.get("time") for each in managers if each.get("manager") != MANAGER]
    instants = [_seconds(each) for each in (*times, metadata.get("creationTimestamp"))]
    return max(instants)


def _seconds(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


def _zulu(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
