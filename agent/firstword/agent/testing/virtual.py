"""Runs what a test does on virtual time, with a fake LiveKit server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from firstword.agent.testing.clock import wall_clock_of
from firstword.agent.testing.livekit import FakeLiveKit
from firstword.telemetry.testing import VirtualTimeLoop

_Result = TypeVar("_Result")


class LiveKitTest:
    """A virtual loop and a fake LiveKit server, for one scenario."""

    def __init__(self) -> None:
        self.loop = VirtualTimeLoop()
        self.livekit = FakeLiveKit()

    def run(self, scenario: Callable[[FakeLiveKit], Coroutine[Any, Any, _Result]]) -> _Result:
        """Run the scenario to its end; once. Returns and raises what it does; what it has begun ends with it."""
        with self.livekit, wall_clock_of(self.loop), asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            return runner.run(scenario(self.livekit))
