"""Runs the rescuer as a service until it is interrupted, with its metrics exported and its log on standard error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from firstword.command.rescuer.instruments import SERVICE, RescueInstruments
from firstword.command.rescuer.livekit_rooms import open_rooms
from firstword.command.rescuer.service import RescueEvent, RescueService
from firstword.command.service_log import log_on_standard_error
from firstword.telemetry.metrics import EXPORT_AT_END_MS, exporter_from_environment, meter_of, meter_provider
from firstword.telemetry.service import service_resource


@dataclass(frozen=True, slots=True, repr=False)
class RescueOptions:
    """Which server is watched, for which agents. Has no repr: it holds secrets."""

    url: str
    key: str
    secret: str
    agent_names: Collection[str]
    claim_key: str | None
    every: float
    """Seconds from one look to the next."""
    dry_run: bool


async def watch(options: RescueOptions, report: Callable[[RescueEvent], None]) -> None:
    """Looks each `options.every` seconds until it is cancelled. Raises LiveKitError if the first look is refused for the key.

    report: is called with each event.
    """
    provider = meter_provider(service_resource(SERVICE), exporter_from_environment())
    try:
        with log_on_standard_error():
            async with open_rooms(options.url, options.key, options.secret) as rooms:
                service = RescueService(
                    rooms,
                    options.agent_names,
                    options.secret,
                    options.claim_key,
                    RescueInstruments(meter_of(provider)),
                    options.dry_run,
                    report,
                )
                while True:
                    began = asyncio.get_running_loop().time()
                    await service.look()
                    spent = asyncio.get_running_loop().time() - began
                    await asyncio.sleep(max(options.every - spent, 0.1))
    finally:
        await asyncio.to_thread(provider.shutdown, EXPORT_AT_END_MS)
