"""An agent that knows nothing of firstword, on a fake LiveKit: its start is a trace, by its own lines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from livekit import rtc
from livekit.agents import JobContext
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from firstword.agent.testing import Caller, FakeJob, FakeLiveKit, LiveKitTest
from firstword.telemetry import vocabulary as words
from firstword.telemetry.export import Exporting
from firstword.telemetry.observed_start import ObservedStart

Entrypoint = Callable[[JobContext], Awaitable[None]]
RATE = 24_000


async def speak(job: JobContext, name: str = "roomio_audio", peak: int = 8_000) -> None:
    """Publish a track, wait until somebody is subscribed to it, send 50 ms."""
    source = rtc.AudioSource(RATE, 1)
    track = rtc.LocalAudioTrack.create_audio_track(name, source)
    publication = await job.room.local_participant.publish_track(track)
    await publication.wait_for_subscription()
    samples = np.full(RATE // 20, peak, dtype=np.int16)
    await source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples)))


def observed(entrypoint: Entrypoint, *, joins: float | None = 0.0, stays: float = 2.0) -> Sequence[ReadableSpan]:
    """The spans of the start of one call. joins, stays: when the caller comes, and for how many seconds."""
    memory = InMemorySpanExporter()
    test = LiveKitTest()
    starts: list[ObservedStart] = []

    async def scenario(livekit: FakeLiveKit) -> None:
        job = FakeJob(livekit)

        async def call() -> None:
            caller = Caller(livekit)
            if joins is not None:
                await asyncio.sleep(joins)
                await caller.join()
                await asyncio.sleep(stays)
                await caller.leave()
            await job.context.delete_room()

        async def entry(context: JobContext) -> None:
            starts.append(ObservedStart(context, lambda: Exporting([memory])))
            await entrypoint(context)

        calling = asyncio.create_task(call())
        await asyncio.sleep(0)
        await job.run(entry)
        await calling

    test.run(scenario)
    assert starts[0].exported(5.0)
    return memory.get_finished_spans()


def test_a_start_is_a_trace_by_the_contract() -> None:
    """Root, dispatch, phases, and the path under them, from the lines of an agent that was not changed."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        await asyncio.sleep(0.3)
        await job.wait_for_participant()
        await speak(job)

    spans = {span.name: span for span in observed(entrypoint)}
    root = dict(spans[words.ROOT].attributes or {})
    assert (root[words.METHOD], root[words.OUTCOME], root[words.DISPATCH_KIND]) == ("observed", "first_word", "ahead")
    assert {words.CONNECT, words.WAIT, words.GREET, words.DISPATCH} <= set(spans)
    piece = spans["critical test_a_start_is_a_trace_by_the_contract.<locals>.entrypoint"]
    assert (
        dict(piece.attributes or {}).items()
        >= {
            words.KIND: words.TIMER,
            words.FILE: "tests/telemetry/test_observed_start.py",
            words.FUNCTION: "test_a_start_is_a_trace_by_the_contract.<locals>.entrypoint",
        }.items()
    )
