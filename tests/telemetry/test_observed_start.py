"""Agents that know nothing of firstword, on a fake LiveKit: each start is a trace by the contract, and each call is as without us."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import JobContext
from livekit.agents.voice.avatar import DataStreamAudioOutput
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from firstword.agent.testing import FakeCaller, FakeJob, FakeLiveKit, LiveKitTest
from firstword.telemetry import observed_start
from firstword.telemetry import vocabulary as words
from firstword.telemetry.audible_frames import AUDIBLE
from firstword.telemetry.export import Exporting
from firstword.telemetry.livekit_private import BACKGROUND_AUDIO
from firstword.telemetry.loop_hooks import Unobservable
from firstword.telemetry.observed_start import ObservedStart, observe_start
from tests.telemetry.observed_calls import RATE, call, greet, send, speak, track_of


def test_a_start_is_a_trace_by_the_contract() -> None:
    """Root, dispatch, phases, and the path under them, from the lines of an agent that was not changed."""
    seen = call(greet, joins=0.5)
    assert seen.failed is None
    assert (seen.root[words.METHOD], seen.root[words.OUTCOME], seen.root[words.DISPATCH_KIND]) == (
        "observed",
        "first_word",
        "ahead",
    )
    assert 0.3 < seen.root[words.TTFW] < 0.5
    assert seen.root[words.SLOW] is False
    spans = {span.name: span for span in seen.spans}
    assert {words.CONNECT, words.WAIT, words.GREET, words.DISPATCH} <= set(spans)
    phases = [spans[name] for name in (words.CONNECT, words.WAIT, words.GREET)]
    assert all((b.start_time or 0) - (a.end_time or 0) == 1000 for a, b in pairwise(phases))
    assert 0.5 < seen.lasted(words.CONNECT) + seen.lasted(words.WAIT) < 0.6
    sleep = dict(spans["critical greet"].attributes or {})
    assert sleep[words.KIND] == words.TIMER
    assert sleep[words.FILE] == "observed_calls.py"
    assert sleep[words.FUNCTION] == "greet"
    assert seen.lasted("critical greet") == pytest.approx(0.3, abs=0.01)


def test_how_slow_is_slow_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same one as the shipped worker's, so that the collector's sampling means the same."""
    monkeypatch.setenv("FIRSTWORD_SLOW", "0.2")
    assert call(greet).root[words.SLOW] is True


def test_nothing_of_the_hooks_is_left() -> None:
    """In LiveKit's classes as in asyncio's."""
    before = vars(rtc.AudioSource)["capture_frame"], vars(rtc.Room)["connect"], vars(asyncio.Handle)["_run"]
    created = vars(rtc.LocalAudioTrack)["create_audio_track"]
    call(greet)
    assert before == (
        vars(rtc.AudioSource)["capture_frame"],
        vars(rtc.Room)["connect"],
        vars(asyncio.Handle)["_run"],
    )
    assert vars(rtc.LocalAudioTrack)["create_audio_track"] is created


def test_nothing_personal_is_exported() -> None:
    """Neither who called nor the room's name, nor the source, nor where the file lies on this machine."""

    async def ring(job: JobContext) -> None:
        await greet(job)

    exported = repr([(span.name, dict(span.attributes or {})) for span in call(ring).spans])
    for private in ("'caller'", "'call'", "await ", "/work", "/home", "/tmp"):
        assert private not in exported


def test_background_audio_is_not_the_first_word() -> None:
    """LiveKit's BackgroundAudioPlayer plays on a track of its own, before the agent speaks."""
    from livekit.agents.voice import background_audio

    assert vars(background_audio)["_TRACK_NAME"] == BACKGROUND_AUDIO

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        await job.wait_for_participant()
        await speak(job, BACKGROUND_AUDIO)
        await asyncio.sleep(1)
        await speak(job)

    assert call(entrypoint).root[words.DURATION] > 1


def test_silence_is_not_the_first_word() -> None:
    """Frames below -36 dBFS are sent before speech."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        source, publication = await track_of(job)
        await publication.wait_for_subscription()
        await send(source, AUDIBLE)
        await asyncio.sleep(1)
        await send(source, -AUDIBLE - 1)

    assert call(entrypoint).root[words.DURATION] > 1


def test_what_nobody_is_subscribed_to_is_not_the_first_word() -> None:
    """Frames of before are lost; the first one that somebody can hear counts."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        source, publication = await track_of(job)
        await send(source)
        await publication.wait_for_subscription()
        await asyncio.sleep(0.4)
        await send(source)

    seen = call(entrypoint, joins=1.0)
    assert seen.root[words.OUTCOME] == "first_word"
    assert 1.4 < seen.root[words.DURATION] < 1.6


def test_an_avatar_speaks_when_it_says_that_it_plays() -> None:
    """Its voice is another participant's track, which the agent never sees a frame of."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        await job.wait_for_participant()
        output = DataStreamAudioOutput(job.room, destination_identity="avatar", sample_rate=RATE)
        await asyncio.sleep(0.7)
        output.on_playback_started(created_at=time.time())

    seen = call(entrypoint)
    assert seen.root[words.OUTCOME] == "first_word"
    assert 0.7 < seen.root[words.DURATION] < 0.9


def test_an_agent_that_speaks_twice_has_one_start() -> None:
    """Its first word's."""

    async def entrypoint(job: JobContext) -> None:
        await greet(job)
        await speak(job, "another")

    assert [span.name for span in call(entrypoint).spans].count(words.ROOT) == 1


def test_the_first_words_have_the_process_to_themselves() -> None:
    """Spans are made by a thread, which would take the interpreter from the frames that follow the first."""
    memory = InMemorySpanExporter()
    seen: list[int] = []

    async def entrypoint(context: JobContext) -> None:
        start = ObservedStart(context, lambda: Exporting([memory]))
        await context.connect()
        await speak(context)
        await asyncio.sleep(observed_start.SPEECH_SECONDS - 0.1)
        assert not start.exported(0.2)
        seen.append(len(memory.get_finished_spans()))
        await asyncio.sleep(0.2)
        assert start.exported(5.0)
        seen.append(len(memory.get_finished_spans()))
        await context.delete_room()

    async def scenario(livekit: FakeLiveKit) -> None:
        caller = FakeCaller(livekit)
        await caller.join()
        await FakeJob(livekit).run(entrypoint)

    LiveKitTest().run(scenario)
    assert seen[0] == 0 < seen[1]


def test_who_finds_the_root_finds_its_path() -> None:
    """It is exported last: an exporter's thread may cut a batch anywhere."""

    async def entrypoint(job: JobContext) -> None:
        await greet(job)

    spans = call(entrypoint).spans
    assert [span.name for span in spans].index(words.ROOT) == len(spans) - 1 > 0


def test_two_agents_in_one_process() -> None:
    """Each start ends with the first word in its own room."""
    memories = InMemorySpanExporter(), InMemorySpanExporter()
    test = LiveKitTest()
    starts: list[ObservedStart] = []

    async def scenario(livekit: FakeLiveKit) -> None:
        async def one_call(room: str, thinks: float, memory: InMemorySpanExporter) -> None:
            job, caller = FakeJob(livekit, room=room), FakeCaller(livekit, room=room)

            async def entrypoint(context: JobContext) -> None:
                starts.append(ObservedStart(context, lambda: Exporting([memory])))
                await context.connect()
                await asyncio.sleep(thinks)
                await speak(context)
                await asyncio.sleep(2)
                await context.delete_room()

            await caller.join()
            await job.run(entrypoint)
            await caller.leave()

        await asyncio.gather(one_call("one", 0.5, memories[0]), one_call("other", 1.5, memories[1]))

    test.run(scenario)
    assert all(start.exported(5.0) for start in starts)
    raw = [
        (span.attributes or {})[words.DURATION]
        for memory in memories
        for span in memory.get_finished_spans()
        if span.name == words.ROOT
    ]
    assert [round(float(str(seconds)), 1) for seconds in raw] == [0.6, 1.6]


def test_an_agent_that_is_still_connecting_when_the_caller_comes_was_waited_for() -> None:
    """The way to the room is the agent's, whenever the caller joins."""

    async def entrypoint(job: JobContext) -> None:
        await asyncio.sleep(1.0)
        await job.connect()
        await speak(job)

    spans = {span.name for span in call(entrypoint, joins=0.5).spans}
    assert f"critical {words.ABSENT_CALLER}" not in spans


def test_an_agent_that_blocks_the_loop() -> None:
    """Ten seconds are computing, and the call goes on as it would."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        await job.wait_for_participant()
        await asyncio.sleep(0.01)
        loop: Any = asyncio.get_running_loop()
        loop.jump(10)
        await speak(job)

    seen = call(entrypoint, stays=20, ends=30)
    assert seen.root[words.OUTCOME] == "first_word"
    computing = [span for span in seen.spans if (span.attributes or {}).get(words.KIND) == words.COMPUTING]
    assert sum((span.end_time or 0) - (span.start_time or 0) for span in computing) >= 10e9 - 10_000


def test_a_loop_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The phases are seen all the same, and the trace says why there is no path."""

    def refuse(_: object) -> None:
        raise Unobservable("expected asyncio's own event loop, got uvloop.Loop")

    monkeypatch.setattr(observed_start, "start_record", refuse)
    seen = call(greet)
    assert (seen.root[words.METHOD], seen.root[words.OUTCOME]) == ("guessed", "first_word")
    assert seen.root[words.UNOBSERVED] == "expected asyncio's own event loop, got uvloop.Loop"
    assert {words.CONNECT, words.WAIT, words.GREET} <= {span.name for span in seen.spans}
    assert not [span for span in seen.spans if span.name.startswith(words.CRITICAL_PREFIX)]


def test_the_call_is_as_without_us() -> None:
    """The caller gets the same frames, whatever becomes of the start."""

    async def entrypoint(job: JobContext) -> None:
        await greet(job)
        await asyncio.sleep(1)
        await speak(job, "another")

    assert call(entrypoint).frames == 2


def test_an_export_that_fails_is_not_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, as everything of ours that goes wrong; so is a job that has nothing that we look at."""
    monkeypatch.delenv("PYTEST_VERSION")

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(observed_start, "lay_out_observed", fail)
    seen = call(greet)
    assert (seen.failed, seen.spans) == (None, [])
    nothing: Any = None
    assert observe_start(nothing, greet) is None
