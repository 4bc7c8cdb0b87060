"""What telemetry takes from LiveKit's job unpublished: fails here, by name, when an upgrade moves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from livekit.agents import JobContext
from livekit.agents.testing import fake_job_context

from firstword.telemetry.livekit import dispatch_stages, received_at

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


async def test_the_stages_of_a_dispatch(job: JobContext) -> None:
    """Each by its event's name, of those that LiveKit knows."""
    assert dispatch_stages(job) == {}
    stages = {f"{name}_at": RECEIVED + n for n, name in enumerate(("received", "accepted", "assigned", "launched"))}
    assert dispatch_stages(with_stages(job, **stages)) == {
        "job.received": 1_800_000_000_000_000_000,
        "job.accepted": 1_800_000_001_000_000_000,
        "job.assigned": 1_800_000_002_000_000_000,
        "job.launched": 1_800_000_003_000_000_000,
    }
