"""Reads where code waits and where it runs: chains of awaits and Python stacks, as code objects and offsets.

Below `firstword.telemetry.loop_record`: what is taken while a caller waits. `firstword.telemetry.source_lines` makes
lines of it later.
"""

from __future__ import annotations

import gc
import sys
from asyncio import events
from collections.abc import Coroutine
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, cast

from firstword.telemetry.source_lines import is_users

Frames = tuple[tuple[CodeType, int], ...]
"""Functions that call or await each other, the outermost first: code and the offset of the instruction reached."""

_MOST_FRAMES = 64
_OPAQUE = frozenset({"coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"})
"""Types that do not say whom they await, except to the garbage collector."""
_LOOP_CODE: CodeType = vars(events.Handle)["_run"].__code__
"""Who stands below every callback on the Python stack."""


def await_chain(awaitable: Any) -> Frames:
    """Returns where a suspended coroutine waits: its own frame, that of what it awaits, and so on inwards."""
    frames: list[tuple[CodeType, int]] = []
    for _ in range(_MOST_FRAMES):
        kind = cast("type[Any]", type(awaitable))
        frame: FrameType | None
        if kind is CoroutineType:
            frame, awaitable = awaitable.cr_frame, awaitable.cr_await
        elif kind is GeneratorType:
            frame, awaitable = awaitable.gi_frame, awaitable.gi_yieldfrom
        elif kind is AsyncGeneratorType:
            frame, awaitable = awaitable.ag_frame, awaitable.ag_await
        elif kind.__name__ in _OPAQUE:
            frame, awaitable = None, next(filter(_has_frame, gc.get_referents(awaitable)), None)
        elif hasattr(awaitable, "cr_frame"):  # somebody's own class of coroutines
            frame, awaitable = awaitable.cr_frame, awaitable.cr_await
        elif isinstance(awaitable, Coroutine):  # that says nothing of whom it awaits, such as a request of aiohttp's
            frame, awaitable = None, next(filter(_has_frame, gc.get_referents(awaitable)), None)
        else:
            break
        if frame is not None:
            frames.append((frame.f_code, frame.f_lasti))
    return tuple(frames)


def users_frame() -> Frames:
    """Returns the innermost frame of the user's code on this thread's stack. Empty if only libraries run."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] # what inspect.currentframe is
    for _ in range(_MOST_FRAMES):
        if frame is None or frame.f_code is _LOOP_CODE:
            break
        if is_users(frame.f_code.co_filename):
            return ((frame.f_code, frame.f_lasti),)
        frame = frame.f_back
    return ()


def stack_of(frame: FrameType | None) -> Frames:
    """Returns the Python stack of a thread above the event loop, the outermost frame first, at most its 64 innermost
    frames.
    """
    frames: list[tuple[CodeType, int]] = []
    while frame is not None and frame.f_code is not _LOOP_CODE and len(frames) < _MOST_FRAMES:
        frames.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(reversed(frames))


def _has_frame(referent: object) -> bool:
    return isinstance(referent, (CoroutineType, GeneratorType, AsyncGeneratorType))
