"""Observed starts without a first word, or with a caller who comes late or is announced late."""

from __future__ import annotations

import asyncio

import pytest
from livekit.agents import JobContext

from firstword.telemetry import vocabulary as words
from tests.telemetry.observed_calls import Call, call, greet, speak


def test_an_agent_that_crashes() -> None:
    """Its error is LiveKit's to report; what led to it is the path."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        await asyncio.sleep(0.4)
        raise ZeroDivisionError

    seen = call(entrypoint)
    assert isinstance(seen.failed, ZeroDivisionError)
    assert (seen.root[words.OUTCOME], seen.root[words.ERROR_TYPE]) == ("failed", "ZeroDivisionError")
    assert seen.lasted("critical test_an_agent_that_crashes.<locals>.entrypoint") == pytest.approx(0.4, abs=0.01)


def test_an_agent_that_never_speaks() -> None:
    """After a minute with a caller it is not waited for any more; the path says at which line it was."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        await asyncio.Event().wait()

    def rests(seen: Call) -> float:
        return seen.lasted("critical test_an_agent_that_never_speaks.<locals>.entrypoint")

    late = call(entrypoint, stays=80, ends=90)
    assert late.root[words.OUTCOME] == "timed_out"
    assert late.root[words.DURATION] == pytest.approx(60, abs=0.1)
    assert rests(late) > 59
    gone = call(entrypoint, stays=2)
    assert gone.root[words.OUTCOME] == "abandoned"
    assert rests(gone) == pytest.approx(2, abs=0.1)


def test_a_job_that_ends_on_a_caller_who_stayed() -> None:
    """It failed them."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        await job.wait_for_participant()
        await asyncio.sleep(1)
        job.shutdown("full")

    assert call(entrypoint).root[words.OUTCOME] == "failed"


def test_a_caller_who_never_comes() -> None:
    """Ends with the job; no first word was owed."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()

    assert call(entrypoint, joins=None).root[words.OUTCOME] == "no_caller"


def test_an_absent_caller_is_not_waited_for() -> None:
    """What the agent waited while only they were missing has a name of its own."""
    seen = call(greet, joins=1.5)
    assert seen.root[words.DISPATCH_KIND] == "ahead"
    assert seen.lasted(f"critical {words.ABSENT_CALLER}") == pytest.approx(1.5, abs=0.1)


def test_a_caller_who_is_told_of_after_the_first_word_came_before_it() -> None:
    """LiveKit's server tells of who only listens seconds late; the agent spoke to whom its voice was subscribed by."""

    async def entrypoint(job: JobContext) -> None:
        await job.connect()
        await speak(job)

    seen = call(entrypoint, joins=1.5)
    assert (seen.root[words.DISPATCH_KIND], seen.root[words.OUTCOME]) == ("ahead", "first_word")
    assert seen.root[words.PARTICIPANT_KIND] == "PARTICIPANT_KIND_STANDARD"
    assert seen.root[words.TTFW] == pytest.approx(0.025, abs=0.01)
    assert seen.root[words.DURATION] == pytest.approx(1.55, abs=0.01)
