"""Runs coroutines beside each other, where a failure and a cancellation may come at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def together(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """Runs them as tasks and returns their results, in order. Raises the first failure; the others are cancelled first.

    A cancellation always counts. `asyncio.TaskGroup` before Python 3.13 raises a failure instead of a cancellation that
    comes with it, and leaves the task around it counted as cancelled.
    """
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:  # one that failed, before those that were cancelled for it
        task.result()
    return [task.result() for task in tasks]
