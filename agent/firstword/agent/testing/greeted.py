"""Runs an entrypoint that speaks first, on virtual time and a fake LiveKit server. The result is what its caller heard,
and its start's trace.

For users of `speak_first`: the fixture `first_word_test` of `firstword.agent.testing.fixtures`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from livekit.agents import JobContext
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from firstword.agent.first_word import PROCESS, FirstWordProcess
from firstword.agent.testing.caller import FakeCaller
from firstword.agent.testing.job import FakeJob
from firstword.agent.testing.livekit import FakeLiveKit
from firstword.agent.testing.memory_cache import memory_cache
from firstword.agent.testing.participant import HeardFrame
from firstword.agent.testing.virtual import LiveKitTest
from firstword.telemetry import vocabulary as words
from firstword.telemetry.export import Exporting
from firstword.telemetry.path_assertions import assert_not_on_path, assert_on_path, in_turn
from firstword.telemetry.testing import CountingIds

Entrypoint = Callable[[JobContext], Awaitable[None]]
Scenario = Callable[[FakeLiveKit, FakeCaller], Awaitable[None]]

_AUDIBLE = 500
"""Peak of a frame in which somebody speaks."""


@dataclass(frozen=True)
class GreetedCall:
    """One finished call of a test: what the caller heard, the spans of its start, and assertions on them. Times are in
    seconds.
    """

    spans: Sequence[ReadableSpan]
    """The spans of its start."""
    frames: Sequence[HeardFrame]
    """The frames that reached the caller and have sound."""
    joined: float
    """When the caller joined, Unix seconds on virtual time."""
    ended: str
    """Why the job ended."""

    @property
    def root(self) -> ReadableSpan:
        """Returns the root span of the start. Raises AssertionError unless exactly one start was exported."""
        roots = [span for span in self.spans if span.name == words.ROOT]
        assert len(roots) == 1, f"expected one start, not {len(roots)}; possible cause: no call of speak_first"  # noqa: S101
        return roots[0]

    @property
    def outcome(self) -> object:
        """Returns how the start ended: `first_word` if the caller was greeted."""
        return (self.root.attributes or {}).get(words.OUTCOME)

    @property
    def path(self) -> list[str]:
        """Returns the names on the critical path, in order: tasks, `dispatch` and its stages, `event loop`, `absent
        caller`.
        """
        prefix = words.CRITICAL_PREFIX
        pieces = sorted((span for span in self.spans if span.name.startswith(prefix)), key=lambda s: s.start_time or 0)
        return in_turn(piece.name.removeprefix(prefix) for piece in pieces)

    @property
    def heard(self) -> float:
        """Returns the seconds from the caller's joining to the first frame with sound. Raises AssertionError if they
        heard nothing.
        """
        assert self.frames, f"the caller heard nothing; the start ended as {self.outcome}, the job: {self.ended}"  # noqa: S101
        return self.frames[0].at - self.joined

    def assert_on_path(self, *tasks: str) -> None:
        """Asserts that each of these tasks is on the critical path."""
        assert_on_path(self.path, tasks)

    def assert_not_on_path(self, *tasks: str) -> None:
        """Asserts that none of these tasks is on the critical path."""
        assert_not_on_path(self.path, tasks)

    def assert_order(self, *tasks: str) -> None:
        """Asserts that each of these tasks began after the one before it had ended."""
        spans = [self._task(task) for task in tasks]
        for one, other in pairwise(spans):
            assert (one.end_time or 0) <= (other.start_time or 0) + 1_000, (  # noqa: S101 - spans end 1 us early
                f"{other.name} began before {one.name} had ended"
            )

    def assert_after_first_word(self, *tasks: str) -> None:
        """Asserts that each of these tasks began after the first word, the root's end."""
        early = [task for task in tasks if (self._task(task).start_time or 0) < (self.root.end_time or 0)]
        assert not early, f"began before the first word: {', '.join(early)}"  # noqa: S101

    def assert_nothing_early(self, *allowed: str) -> None:
        """Asserts that before the first word only tasks began that it needed, and these allowed ones."""
        by_id = {span.context.span_id: span for span in self.spans if span.context}
        tasks = {span.name: span for span in self.spans if self._is_task(span)}
        needed, pending = set[str](), ["playout"]
        while pending:
            name = pending.pop()
            if name not in needed and name in tasks:
                needed.add(name)
                linked = [by_id.get(link.context.span_id) for link in tasks[name].links]
                pending += [span.name for span in linked if span is not None]
        early = sorted(tasks.keys() - needed - set(allowed))
        assert not early, f"began before the first word, which did not need it: {', '.join(early)}"  # noqa: S101

    def _is_task(self, span: ReadableSpan) -> bool:
        """Whether it is a task that began before the first word."""
        phases = (words.DISPATCH, words.CONNECT, words.WAIT, words.GREET, words.READY)
        parent, root = span.parent, self.root.context
        of_root = parent is not None and root is not None and parent.span_id == root.span_id
        return of_root and span.name not in phases and not span.name.startswith(words.DEFERRED_PREFIX)

    def _task(self, name: str) -> ReadableSpan:
        names = (name, f"{words.DEFERRED_PREFIX}{name}")
        found = [span for span in self.spans if span.name in names]
        assert found, f"task {name} did not run; there is: {', '.join(sorted(span.name for span in self.spans))}"  # noqa: S101
        return found[0]


@dataclass
class FirstWordTest:
    """Runs entrypoints in a test, each call on a server of its own. A greeting that one call caches is there for the
    next one.
    """

    userdata: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the process's `setup_fnc` would have put there."""

    def __post_init__(self) -> None:
        self.cache = memory_cache()
        """The cache of its greetings."""

    def run(
        self,
        entrypoint: Entrypoint,
        scenario: Scenario | None = None,
        *,
        ahead: float | None = None,
        stays: float = 5.0,
        metadata: str = "",
        **caller: Any,
    ) -> GreetedCall:
        """Runs one call and returns it: the job begins as the caller joins, or `ahead` seconds before; they stay for
        `stays` seconds.

        scenario: an async function of the server and the caller that runs from their joining on. metadata: the job's.
        caller: as for `FakeCaller`. Raises what the entrypoint raises, and what the scenario raises.
        """
        memory = InMemorySpanExporter()
        exporting = Exporting([memory], resource=Resource({"service.name": "test"}), ids=CountingIds())

        async def call(livekit: FakeLiveKit) -> GreetedCall:
            livekit.room("call", {"departureTimeout": 0.5})
            process = FirstWordProcess(exporting, self.cache)
            job = FakeJob(livekit, metadata=metadata, userdata={**self.userdata, PROCESS: process})
            somebody = FakeCaller(livekit, **caller)
            running = asyncio.create_task(job.run(entrypoint))
            await asyncio.sleep(ahead or 0.0)
            joined = time.time()
            coming = asyncio.create_task(self._attend(livekit, somebody, scenario, stays))
            try:
                ended = await running
                if coming.done():
                    coming.result()
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
            frames = [each for each in somebody.heard if _audible(each)]
            return GreetedCall((), frames, joined, ended)

        try:
            over = LiveKitTest().run(call)
            exporting.flush(5.0)
            return GreetedCall(memory.get_finished_spans(), over.frames, over.joined, over.ended)
        finally:
            exporting.shutdown()

    @staticmethod
    async def _attend(livekit: FakeLiveKit, caller: FakeCaller, scenario: Scenario | None, stays: float) -> None:
        await caller.join()
        until = asyncio.get_running_loop().time() + stays
        if scenario is not None:
            await scenario(livekit, caller)
        await asyncio.sleep(max(until - asyncio.get_running_loop().time(), 0.0))
        if caller.room.isconnected():
            await caller.leave()


def _audible(heard: HeardFrame) -> bool:
    samples = np.frombuffer(heard.frame.data, np.int16).astype(np.int32)
    return bool(np.abs(samples).max(initial=0) > _AUDIBLE)
