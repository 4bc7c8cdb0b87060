"""The rescuer's metrics: callers whose agent died, and what became of them. docs/metrics.md lists them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from firstword.telemetry.metrics import SECONDS

SERVICE = "firstword-rescue"
"""`service.name` of the rescuer's metrics, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES names another."""


class RescueOutcome(StrEnum):
    """What is counted of a room."""

    SEEN = "seen"
    """A caller whose agent had died. Each has one of the others, too, once that is known."""
    RESCUED = "rescued"
    LEFT = "left"
    """The caller left first."""
    GIVEN_UP = "given_up"


class RescueInstruments:
    """The OpenTelemetry instruments of the rescuer, on one meter."""

    def __init__(self, meter: Meter) -> None:
        self._rooms: dict[str, int] = {}
        self._last_look: float | None = None
        self._rescues = meter.create_counter(
            "firstword.rescues", unit="{room}", description="Callers whose agent died, by what became of them"
        )
        self._alone = meter.create_histogram(
            "firstword.rescue.alone",
            unit="s",
            description="From the last sign of the agent that died until another was there",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        meter.create_observable_gauge(
            "firstword.rescue.rooms", [self._count], unit="{room}", description="Rooms, by whether their agent answers"
        )
        meter.create_observable_gauge(
            "firstword.rescue.last_look", [self._looked], unit="s", description="Last look that saw all rooms"
        )
        for outcome in RescueOutcome:  # Prometheus takes the first value of a series for no increase
            self._rescues.add(0, {"outcome": outcome.value})

    def ended(self, outcome: RescueOutcome, alone: float | None = None) -> None:
        """Counts a room. alone: seconds that its caller was without an agent, where another is there."""
        self._rescues.add(1, {"outcome": outcome.value})
        if alone is not None:
            self._alone.record(alone)

    def looked(self, now: float, attended: int, alone: int) -> None:
        """Notes a look that saw all rooms. now: Unix time, seconds. attended: rooms whose agent answers. alone: rooms whose
        agent is dead.
        """
        self._last_look = now
        self._rooms = {"attended": attended, "alone": alone}

    def _count(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(rooms, {"state": state}) for state, rooms in self._rooms.items()]

    def _looked(self, _: CallbackOptions) -> Iterable[Observation]:
        return [] if self._last_look is None else [Observation(self._last_look)]
