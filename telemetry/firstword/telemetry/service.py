"""Names the service that a process exports as: the same for the spans and the metrics of one worker.

Without a name of the user's a worker has the one that the commands look for in a Jaeger.
"""

from __future__ import annotations

from importlib import metadata
from typing import Final

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource

SERVICE: Final = "firstword"


def service_resource(service: str = SERVICE) -> Resource:
    """Returns the OpenTelemetry resource of a process that has no provider of its own: this name, and firstword's version.

    `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` override both. The version is empty where only the telemetry is
    installed.
    """
    try:
        version = metadata.version("firstword")
    except metadata.PackageNotFoundError:
        version = ""
    return Resource({SERVICE_NAME: service, SERVICE_VERSION: version}).merge(OTELResourceDetector().detect())
