"""Small agents of a user's, run on a fake LiveKit in virtual time with LiveKit's own session, and their observed starts read back."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import Mock

import pytest
from livekit.agents import JobContext

from firstword.agent.testing import FakeCaller, FakeJob, FakeLiveKit, LiveKitTest
from firstword.telemetry import frames, observed_start
from firstword.telemetry.export import Exporting, FileExporter
from firstword.telemetry.frames import stack_of
from firstword.telemetry.observed_start import ObservedStart
from firstword.telemetry.source_lines import is_users
from firstword.telemetry.vocabulary import ACCEPTANCE, ASSIGNMENT, OFFER, PROCESS_START, PROCESS_WAIT
from firstword.tuning.files import Files
from firstword.tuning.sources import Query
from firstword.tuning.start import RecordedStart, start_of
from tests.tuning.written import no_problem

PROVIDERS = Path(__file__).parent / "fake_providers.py"
"""Becomes an installed plugin of LiveKit's."""
_PLUGIN = "livekit.plugins.fake"
_LIVEKIT_FAKE = str(Path(__file__).parents[3] / "agent" / "firstword" / "agent" / "testing")
_STAGES = (OFFER, ACCEPTANCE, ASSIGNMENT, PROCESS_WAIT, PROCESS_START)
_LOOK = 0.005


def _is_users(file: str) -> bool:
    return not file.startswith(_LIVEKIT_FAKE) and is_users(file)


class Studio:
    """Runs agents in a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._observed: list[ObservedStart] = []
        # installed beside this test, the fake LiveKit would pass for the user's
        monkeypatch.setattr(frames, "is_users", _is_users)
        # its thread looks at real instants
        monkeypatch.setattr(observed_start, "LoopSampler", Mock())
        monkeypatch.setattr(time, "sleep", lambda seconds: self._hold(seconds, sys._getframe(1)))  # pyright: ignore

    def start(self, source: str, *, dispatch: Mapping[str, float] | None = None, metadata: str = "") -> RecordedStart:
        """Write the agent, call it once, and read the trace of its start.

        dispatch: seconds of each stage; without it the job comes with the caller and takes no time.
        """
        self._observed = []
        traces = self.folder / "traces"
        exporting = Exporting([FileExporter(traces)])
        self._call(self._agent(source), exporting, dispatch or {}, metadata)
        assert self._observed[0].exported(5.0)
        exporting.shutdown()
        (start,) = [start_of(trace) for trace in Files(traces).traces(Query(), no_problem) if trace.is_start]
        return start

    def _agent(self, source: str) -> Any:
        packages = self.folder / "site-packages"
        (packages / "livekit").mkdir(parents=True)
        plugin = packages / "livekit" / "fake.py"
        plugin.write_text(PROVIDERS.read_text())
        (packages / "heavy.py").write_text("from livekit.plugins.fake import hold\nhold(0.2)\n")
        file = self.folder / "my_agent.py"
        file.write_text(source)
        self._monkeypatch.syspath_prepend(str(packages))
        self._monkeypatch.delitem(sys.modules, "heavy", raising=False)
        self._monkeypatch.setitem(sys.modules, _PLUGIN, _loaded(_PLUGIN, plugin))
        sys.modules[_PLUGIN].__dict__["hold"] = lambda seconds: self._hold(seconds, sys._getframe(1))  # pyright: ignore
        return _loaded("my_agent", file)

    def _hold(self, seconds: float, frame: FrameType) -> None:
        """Let virtual time pass in one step, and look at it as the sampler does."""
        loop: Any = asyncio.get_running_loop()
        record = self._observed[0]._record  # pyright: ignore[reportPrivateUsage]
        for _ in range(round(seconds / _LOOK)):
            loop.jump(_LOOK)
            if record is not None and record.current is not None and (stack := stack_of(frame)) is not None:
                record.current.samples = [*(record.current.samples or ()), (record.clock(), stack)]

    def _call(self, module: Any, exporting: Exporting, dispatch: Mapping[str, float], metadata: str) -> None:
        async def scenario(livekit: FakeLiveKit) -> None:
            caller = FakeCaller(livekit)
            await caller.join()
            joined = time.time_ns()
            await asyncio.sleep(dispatch.get(OFFER, 0.0))
            job = FakeJob(livekit, metadata=metadata)

            async def entrypoint(context: JobContext) -> None:
                self._observed.append(ObservedStart(context, lambda: exporting, folder=str(self.folder)))
                await module.entrypoint(context)

            async def run(context: JobContext) -> None:
                await asyncio.create_task(entrypoint(context))

            await asyncio.sleep(sum(dispatch.values()) - dispatch.get(OFFER, 0.0))
            with self._stages(joined, dispatch):
                running = asyncio.create_task(job.run(run))
                await asyncio.sleep(8)
                await job.context.delete_room()
                await running
            await caller.leave()

        LiveKitTest().run(scenario)

    @contextmanager
    def _stages(self, joined: int, dispatch: Mapping[str, float]) -> Generator[None]:
        """In place of what LiveKit's worker and Linux say of a dispatch."""
        ends: list[tuple[str, int]] = []
        reached = joined
        for stage in _STAGES if dispatch else ():
            reached += round(dispatch.get(stage, 0.0) * 1e9)
            ends.append((stage, reached))
        with self._monkeypatch.context() as patch:
            patch.setattr(observed_start, "dispatch_ends", Mock(return_value=ends))
            yield


def _loaded(name: str, file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
