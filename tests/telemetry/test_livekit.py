"""What telemetry takes from LiveKit's job unpublished: fails here, by name, when an upgrade moves it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import JobContext
from livekit.agents.testing import fake_job_context

from firstword.telemetry.clock import session_clock
from firstword.telemetry.livekit import dispatch_ends, first_frame, received_at
from firstword.telemetry.plan import Plan
from firstword.telemetry.run import Run
from firstword.telemetry.vocabulary import GREET

RECEIVED = 1_800_000_000.0
"""Unix seconds; whole ones, which a float holds in nanoseconds too."""


@pytest.fixture
async def job() -> AsyncIterator[JobContext]:
    """LiveKit's own context of a job that no worker received; its room wants an event loop."""
    with fake_job_context() as made:
        yield made
        made._tempdir.cleanup()  # pyright: ignore[reportPrivateUsage]  # LiveKit's own clean-up ends the whole session


def with_stages(job: JobContext, **stages: float) -> JobContext:
    """The job as LiveKit hands it over once its worker has noted these."""
    job._info = replace(job._info, **stages)  # pyright: ignore[reportPrivateUsage]
    return job


async def test_when_a_job_was_received(job: JobContext) -> None:
    """In Unix ns; None where LiveKit doesn't say, as for a job in the console."""
    assert received_at(job) is None
    assert received_at(with_stages(job, received_at=RECEIVED)) == 1_800_000_000_000_000_000


NS = 1_800_000_000_000_000_000
NOTED = {f"{name}_at": RECEIVED + n for n, name in enumerate(("received", "accepted", "assigned", "launched"))}
"""A second each."""


@pytest.mark.parametrize(
    ("created", "wait_until"),
    [
        (NS - 9, NS + 2_000_000_000),  # the process was starting, or idle, before the job was assigned
        (NS + 2_400_000_000, NS + 2_400_000_000),  # none was there: the job waited until one could begin to start
        (NS + 9_000_000_000, NS + 3_000_000_000),  # a clock that was set: never past the hand-over
        (None, NS + 3_000_000_000),  # the system doesn't say: all of it is a wait for a process
    ],
)
async def test_when_each_stage_of_the_dispatch_ended(job: JobContext, created: int | None, wait_until: int) -> None:
    """The wait for a process ends where the process that runs the job was created."""
    assert dispatch_ends(with_stages(job, **NOTED), created) == (
        ("offer", NS),
        ("acceptance", NS + 1_000_000_000),
        ("assignment", NS + 2_000_000_000),
        ("process_wait", wait_until),
        ("process_start", NS + 3_000_000_000),
    )


async def test_stages_that_livekit_does_not_say(job: JobContext) -> None:
    """None of a job in the console, none where a part is missing, and none where an upgrade moved them: no error either."""
    assert dispatch_ends(job, NS) == ()
    assert dispatch_ends(with_stages(job, received_at=RECEIVED), NS) == ()
    del job._info  # pyright: ignore[reportPrivateUsage]
    assert dispatch_ends(job, NS) == ()
    assert received_at(job) is None


def test_when_this_process_was_created() -> None:
    """A child that looks at itself was created between its parent's order and its look."""
    before = time.time()
    look = "import time; from firstword.telemetry.clock import process_created as c; print(c() / 1e9, time.time())"
    ran = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    created, looked = map(float, ran.stdout.split())
    assert before - 0.05 <= created <= looked
    assert looked - created > 0.01, "an interpreter takes longer than that to start"


async def test_the_first_word_is_the_first_frame_however_late_the_loop_hears_of_it() -> None:
    """LiveKit goes on working in the step in which the frame is sent, here for 0.2 s: that is none of the caller's waiting."""
    plan = Plan("session.startup", phases=(GREET,))
    frames: list[int] = []

    class Output(rtc.EventEmitter[str]):
        """The session's, on which a frame is sent after 50 ms."""

        def send(self) -> None:
            frames.append(session_clock()())
            self.emit("playback_started", None)
            time.sleep(0.2)

    output = Output()
    session = SimpleNamespace(output=SimpleNamespace(audio=output))
    speech = SimpleNamespace(wait_for_playout=lambda: asyncio.sleep(5))

    def speak() -> Any:
        asyncio.get_running_loop().call_later(0.05, output.send)
        return speech

    @plan.first_word
    async def playout() -> None:
        await first_frame(session, speak)  # pyright: ignore[reportArgumentType]

    start = await Run(plan.shape({}), given={}).perform()
    (sent,) = frames
    assert abs(start.end - sent) < 20_000_000
    assert start.task("playout").end == start.end
