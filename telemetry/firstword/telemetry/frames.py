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
from typing import Any, NamedTuple

from firstword.telemetry.source_lines import is_users


class Frames(NamedTuple):
    """Functions that call or await each other. Of the user's innermost one the instruction that it reached is known too."""

    codes: tuple[CodeType, ...]
    """The outermost function first; at least one."""
    users: int | None
    """The place of the user's innermost function in `codes`; None if all are of libraries."""
    offset: int
    """The offset of the instruction that the user's innermost function has reached; 0 if there is none."""


_MOST_FRAMES = 64
_OPAQUE = frozenset({"coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"})
"""Types that do not say whom they await, except to the garbage collector."""
_FUTURES = frozenset({"FutureIter", "NoneType"})
"""Names of the types at the end of most chains: a future, or nothing. Asked first, since the other questions take longer."""
_LOOP_CODE: CodeType = vars(events.Handle)["_run"].__code__
"""Who stands below every callback on the Python stack."""


def await_chain(awaitable: Any) -> Frames | None:
    """Returns where a suspended coroutine waits: itself, what it awaits, and so on inwards. None if that is in no code."""
    codes: list[CodeType] = []
    users: int | None = None
    users_own: Any = None
    for _ in range(_MOST_FRAMES):
        kind = type(awaitable)  # pyright: ignore[reportUnknownVariableType] # of anything
        code: CodeType | None = None
        inner: Any
        if kind is CoroutineType:
            code, inner = awaitable.cr_code, awaitable.cr_await
        elif (name := kind.__name__) in _FUTURES:
            break
        elif kind is GeneratorType:
            code, inner = awaitable.gi_code, awaitable.gi_yieldfrom
        elif kind is AsyncGeneratorType:
            code, inner = awaitable.ag_code, awaitable.ag_await
        elif name in _OPAQUE:
            inner = _referent(awaitable)
        elif hasattr(awaitable, "cr_code"):  # somebody's own class of coroutines
            code, inner = awaitable.cr_code, awaitable.cr_await
        elif issubclass(kind, Coroutine):  # that says nothing of whom it awaits, such as a request of aiohttp's
            inner = _referent(awaitable)
        else:
            break
        if code is not None:
            if is_users(code.co_filename):
                users, users_own = len(codes), awaitable
            codes.append(code)
        awaitable = inner
    return Frames(tuple(codes), users, _reached(users_own)) if codes else None


def users_frame() -> Frames | None:
    """Returns the innermost frame of the user's code on this thread's stack. None if only libraries run."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] # what inspect.currentframe is
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        code = frame.f_code
        if code is _LOOP_CODE:
            break
        if is_users(code.co_filename):
            return Frames((code,), 0, frame.f_lasti)
        frame = frame.f_back
    return None


def stack_of(frame: FrameType | None) -> Frames | None:
    """Returns the Python stack of a thread above the event loop, the outermost frame first, at most its 64 innermost
    frames. None if there is nothing above the loop.
    """
    codes: list[CodeType] = []
    from_inside, offset = None, 0
    while frame is not None and frame.f_code is not _LOOP_CODE and len(codes) < _MOST_FRAMES:
        if from_inside is None and is_users(frame.f_code.co_filename):
            from_inside, offset = len(codes), frame.f_lasti
        codes.append(frame.f_code)
        frame = frame.f_back
    users = None if from_inside is None else len(codes) - 1 - from_inside
    return Frames(tuple(reversed(codes)), users, offset) if codes else None


def _reached(awaitable: Any) -> int:
    """The offset of the instruction that a coroutine or a generator has reached; 0 without one that has a frame."""
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        frame: FrameType | None = getattr(awaitable, name, None)
        if frame is not None:
            return frame.f_lasti
    return 0


def _referent(awaitable: Any) -> object:
    """What an awaitable that does not say so awaits."""
    return next(filter(_has_frame, gc.get_referents(awaitable)), None)


def _has_frame(referent: object) -> bool:
    return isinstance(referent, (CoroutineType, GeneratorType, AsyncGeneratorType))
