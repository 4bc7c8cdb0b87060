"""Runs the tuner as a service until it is interrupted, with its metrics exported and its log on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable

from firstword.command.service_log import log_on_standard_error
from firstword.command.tuner.counts import WorkerCounts
from firstword.command.tuner.evidence import RolloutEvidence
from firstword.command.tuner.flag_store import FlagStore
from firstword.command.tuner.instruments import SERVICE, TunerInstruments
from firstword.command.tuner.service import TunerLook, TunerService
from firstword.telemetry.metrics import EXPORT_AT_END_MS, exporter_from_environment, meter_of, meter_provider
from firstword.telemetry.service import service_resource
from firstword.tuning.rollout import LADDER, Ladder


def watch(
    store: FlagStore,
    evidence: RolloutEvidence,
    every: float,
    looked: Callable[[TunerLook], None],
    *,
    apply: bool,
    counts: WorkerCounts | None,
    ladder: Ladder = LADDER,
) -> None:
    """Looks each `every` seconds until KeyboardInterrupt, which it raises. A collector or an API server that gives no
    answer keeps it no longer than the 30 s that Kubernetes gives.

    looked: called with each look. apply, counts, ladder: see `TunerService`.
    """
    provider = meter_provider(service_resource(SERVICE), exporter_from_environment())
    with log_on_standard_error():
        service = TunerService(store, evidence, TunerInstruments(meter_of(provider)), apply, counts, ladder)
        try:
            while True:
                looked(service.look())
                time.sleep(every)
        finally:
            if apply:
                store.lease.release()
            provider.shutdown(timeout_millis=EXPORT_AT_END_MS)
