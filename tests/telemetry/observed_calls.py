"""Calls of agents that know nothing of firstword, on a fake LiveKit and virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import JobContext
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from firstword.agent.testing import FakeCaller, FakeJob, FakeLiveKit, LiveKitTest
from firstword.telemetry import vocabulary as words
from firstword.telemetry.export import Exporting
from firstword.telemetry.observed_start import ObservedStart

Entrypoint = Callable[[JobContext], Awaitable[None]]
RATE = 24_000
FOLDER = str(Path(__file__).parent)


@dataclass(frozen=True)
class Call:
    """One call: the spans of its start, how the entrypoint ended, and what the caller got."""

    spans: list[ReadableSpan]
    failed: BaseException | None
    frames: int

    @property
    def root(self) -> dict[str, Any]:
        """The root's attributes."""
        (root,) = [span for span in self.spans if span.name == words.ROOT]
        return dict(root.attributes or {})

    def lasted(self, name: str) -> float:
        """Seconds of all spans of that name."""
        return sum(((s.end_time or 0) - (s.start_time or 0)) / 1e9 for s in self.spans if s.name == name)


async def track_of(job: JobContext, name: str = "roomio_audio") -> tuple[rtc.AudioSource, rtc.LocalTrackPublication]:
    """Publish a track."""
    source = rtc.AudioSource(RATE, 1)
    track = rtc.LocalAudioTrack.create_audio_track(name, source)
    return source, await job.room.local_participant.publish_track(track)


async def send(source: rtc.AudioSource, peak: int = 8_000) -> None:
    """Send 50 ms."""
    samples = np.full(RATE // 20, peak, dtype=np.int16)
    await source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples)))


async def speak(job: JobContext, name: str = "roomio_audio", peak: int = 8_000) -> None:
    """Publish a track, wait until somebody is subscribed to it, send 50 ms."""
    source, publication = await track_of(job, name)
    await publication.wait_for_subscription()
    await send(source, peak)


def call(entrypoint: Entrypoint, *, joins: float | None = 0.0, stays: float = 5.0, ends: float = 8.0) -> Call:
    """One call. joins: when the caller comes; stays: for how long; ends: when the room is closed; seconds.

    The entrypoint runs in a task of its own, as in a worker.
    """
    memory = InMemorySpanExporter()
    test = LiveKitTest()
    starts: list[ObservedStart] = []
    failed: list[BaseException | None] = []
    entering: list[asyncio.Task[None]] = []
    frames: list[int] = []

    async def scenario(livekit: FakeLiveKit) -> None:
        job = FakeJob(livekit)

        async def calls() -> None:
            caller = FakeCaller(livekit)
            if joins is not None:
                await asyncio.sleep(joins)
                await caller.join()
                await asyncio.sleep(stays)
                await caller.leave()
                frames.append(len(caller.heard))
            await asyncio.sleep(max(ends - (joins or 0.0) - stays, 0.0))
            await job.context.delete_room()
            for task in entering:
                task.cancel()

        async def entry() -> None:
            starts.append(ObservedStart(job.context, lambda: Exporting([memory]), folder=FOLDER))
            await entrypoint(job.context)

        async def run(_: JobContext) -> None:
            entering.append(task := asyncio.create_task(entry()))
            await asyncio.wait([task])
            failed.append(None if task.cancelled() else task.exception())
            if failed[0] is not None:
                job.context.shutdown("job crashed")

        calling = asyncio.create_task(calls())
        await job.run(run)
        await calling

    test.run(scenario)
    assert starts[0].exported(5.0)
    return Call(list(memory.get_finished_spans()), failed[0], sum(frames))


async def greet(job: JobContext) -> None:
    """A usual agent: connects, waits for the caller, thinks, speaks."""
    await job.connect()
    await job.wait_for_participant()
    await asyncio.sleep(0.3)
    await speak(job)
