"""The tuner's metrics: each flag's share, its steps, why it holds, and when it last looked. docs/metrics.md lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from firstword.tuning.trust import Holding

SERVICE = "firstword-tuner"
"""`service.name` of the tuner's metrics, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES names another."""


class TunerInstruments:
    """The OpenTelemetry instruments of the tuner, on one meter."""

    def __init__(self, meter: Meter) -> None:
        self._shares: Mapping[str, int] = {}
        self._holding: Holding | None = None
        self._last_look: float | None = None
        self._steps = meter.create_counter("firstword.tuner.steps", unit="{step}", description="Moves written, by flag")
        meter.create_observable_gauge(
            "firstword.tuner.share", [self._share], description="Percent of sessions, by flag"
        )
        meter.create_observable_gauge(
            "firstword.tuner.holding", [self._held], description="1 for why nothing is ramped"
        )
        meter.create_observable_gauge(
            "firstword.tuner.last_look", [self._looked], unit="s", description="Last look that could be trusted"
        )

    def stepped(self, flag: str, action: str) -> None:
        """Counts a move that was written."""
        self._steps.add(1, {"feature_flag.key": flag, "action": action})

    def looked(self, now: float, holding: Holding | None) -> None:
        """Notes why the tuner holds, if it does. now: of this look, in seconds since the Unix epoch.

        A look that holds for a flag's sake, or for the trial's, is a look all the same; one that could not see is none.
        """
        self._holding = holding
        if holding in (None, Holding.TRIAL):
            self._last_look = now

    def shares(self, shares: Mapping[str, int]) -> None:
        """Notes the share of each flag, in percent."""
        self._shares = shares

    def _share(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(percent, {"feature_flag.key": flag}) for flag, percent in self._shares.items()]

    def _held(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(reason is self._holding), {"reason": reason.value}) for reason in Holding]

    def _looked(self, _: CallbackOptions) -> Iterable[Observation]:
        return [] if self._last_look is None else [Observation(self._last_look)]
