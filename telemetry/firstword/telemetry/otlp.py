"""What OpenTelemetry's standard variables say of OTLP, the same for each signal: whether it is sent at all, and how."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Literal

logger = logging.getLogger("firstword")

Protocol = Literal["grpc", "http/protobuf"]

_PREFIX: Final = "OTEL_EXPORTER_OTLP_"


def protocol(signal: Literal["TRACES", "METRICS"], environ: Mapping[str, str]) -> Protocol | None:
    """How a signal is to be sent; None where no endpoint is named, or it is switched off.

    A protocol that isn't spoken here (`http/json`, or a misspelt one) is named in a warning, and gRPC taken.
    """
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    _, endpoint = _said(signal, "ENDPOINT", environ)
    if disabled or environ.get(f"OTEL_{signal}_EXPORTER") == "none" or not endpoint:
        return None
    variable, wanted = _said(signal, "PROTOCOL", environ)
    match wanted or "grpc":
        case "grpc" | "http/protobuf" as spoken:
            return spoken
        case _:
            logger.warning(
                "%s is %r, which is not spoken here; it may be: `grpc` or `http/protobuf`. %s go over gRPC",
                *(variable, wanted, signal.lower()),
            )
            return "grpc"


def _said(signal: str, what: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that counts, the signal's own before the common one, and its value; empty where neither is set."""
    own, common = f"{_PREFIX}{signal}_{what}", f"{_PREFIX}{what}"
    return (own, environ[own]) if environ.get(own) else (common, environ.get(common, ""))
