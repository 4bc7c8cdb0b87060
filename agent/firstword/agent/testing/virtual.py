"""Runs a test's scenario on virtual time, with a fake LiveKit server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from firstword.agent.testing.clock import wall_clock_of
from firstword.agent.testing.livekit import FakeLiveKit
from firstword.telemetry.testing import VirtualTimeLoop

_Result = TypeVar("_Result")


class LiveKitTest:
    """A loop with virtual time and a fake LiveKit server, for one scenario of a test."""

    def __init__(self) -> None:
        self.loop = VirtualTimeLoop()
        self.livekit = FakeLiveKit()

    def run(self, scenario: Callable[[FakeLiveKit], Coroutine[Any, Any, _Result]]) -> _Result:
        """Runs the scenario, an async function of the server, to its end. Returns what it returns and raises what it
        raises.

        Call it once. Tasks that the scenario has begun are cancelled at its end.
        """
        with self.livekit, wall_clock_of(self.loop), asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            return runner.run(scenario(self.livekit))
