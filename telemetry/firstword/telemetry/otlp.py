"""Reads OpenTelemetry's standard variables for OTLP, in the same way for each signal: whether it is sent at all, where
and how.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

Protocol = Literal["grpc", "http/protobuf"]
Signal = Literal["TRACES", "METRICS"]
"""A kind of telemetry, as the variables name it."""

_PREFIX: Final = "OTEL_EXPORTER_OTLP_"


@dataclass(frozen=True, slots=True)
class Route:
    """Where traces or metrics are sent: protocol and address, from OpenTelemetry's variables."""

    signal: Signal
    protocol: Protocol | None
    """None if the signal is not sent."""
    variable: str
    """The variable that decides: it names the endpoint, switches the signal off, or is not set."""
    place: str = ""
    """The endpoint's host and port. The whole URL may hold a password."""
    faults: tuple[str, ...] = ()
    """What the variables ask for and can't be done: the variable, what was expected, and a possible cause."""


def route(signal: Signal, environ: Mapping[str, str]) -> Route:
    """Returns how the variables want a signal to be sent. A protocol that we don't have is a fault, and gRPC is used."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Route(signal, None, "OTEL_SDK_DISABLED")
    exporter = f"OTEL_{signal}_EXPORTER"
    wanted = [each.strip() for each in environ.get(exporter, "").split(",") if each.strip()] or ["otlp"]
    faults: list[str] = []
    if unknown := [each for each in wanted if each not in ("otlp", "none")]:
        faults.append(f"{exporter} is {', '.join(unknown)!r:.60}, which is not built in; expected otlp or none")
    variable, endpoint = _said(signal, "ENDPOINT", environ)
    if "otlp" not in wanted or not endpoint:
        return Route(signal, None, variable if "otlp" in wanted else exporter, faults=tuple(faults))
    place, fault = _place(endpoint)
    if fault:
        faults.append(
            f"{variable} is {place!r:.60}; expected http://HOST:PORT or https://HOST:PORT; possible cause: {fault}"
        )
    spoken: Protocol = "grpc"
    by, protocol = _said(signal, "PROTOCOL", environ)
    if protocol == "http/protobuf":
        spoken = "http/protobuf"
    elif protocol not in ("", "grpc"):
        faults.append(
            f"{by} is {protocol!r:.60}, which is not spoken here; expected grpc or http/protobuf. gRPC is taken"
        )
    return Route(signal, spoken, variable, place, tuple(faults))


def without_password(text: str) -> str:
    """Returns the text of an error without what stands before an @, which may be a user and password."""
    return re.sub(r"[^\s/'\"]+@", "", text)


def _said(signal: str, what: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that counts, the signal's own before the common one, and its value; empty where neither is set."""
    own, common = f"{_PREFIX}{signal}_{what}", f"{_PREFIX}{what}"
    return (own, environ[own]) if environ.get(own) else (common, environ.get(common, ""))


def _place(endpoint: str) -> tuple[str, str]:
    """Host and port of an endpoint, and what is wrong with it; empty where nothing is."""
    visible = endpoint.rpartition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0]
    try:
        parts = urlsplit(endpoint)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return visible, "the host or the port is misspelt"
    if known:
        return visible, ""
    return visible, "no scheme before the host" if "://" not in endpoint else "another scheme than http"
