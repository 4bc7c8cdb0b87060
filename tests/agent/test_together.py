"""Coroutines beside each other: results, the first failure, and a cancellation that comes with one."""

from __future__ import annotations

import asyncio

import pytest

from firstword.agent.together import together


async def _after(turns: int, value: int) -> int:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def _fails() -> int:
    raise OSError("broken")


async def test_results_come_in_their_order() -> None:
    assert await together(_after(3, 1), _after(1, 2), _after(2, 3)) == [1, 2, 3]


async def test_the_first_failure_is_raised_and_the_others_are_cancelled_before() -> None:
    """And the caller is no more cancelled than before, which others ask."""
    ended: list[str] = []

    async def goes_on() -> int:
        try:
            return await asyncio.Event().wait() and 0
        finally:
            ended.append("cancelled")

    with pytest.raises(OSError, match="broken"):
        await together(goes_on(), _fails(), goes_on())
    assert ended == ["cancelled", "cancelled"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("turns", range(1, 6))
async def test_a_cancellation_that_comes_with_a_failure_counts(turns: int) -> None:
    """In whichever turn of the loop it comes."""

    async def fails_late() -> int:
        await _after(2, 0)
        return await _fails()

    running = asyncio.ensure_future(together(fails_late(), fails_late(), _after(9, 0)))
    await _after(turns, 0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_failure_while_it_is_cancelled_is_none() -> None:
    async def breaks() -> int:
        try:
            return await asyncio.Event().wait() and 0
        finally:
            raise OSError("broken")

    running = asyncio.ensure_future(together(breaks(), breaks()))
    await _after(2, 0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
