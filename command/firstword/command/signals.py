"""Ends a command in one way, whatever ends it: SIGTERM and SIGHUP do what Ctrl-C does."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_as_by_ctrl_c() -> None:
    """Makes SIGINT, SIGTERM and SIGHUP interrupt this process from now on. Call it on the main thread, before anything
    starts.

    SIGINT does so even where it was ignored when the process began: a shell ignores it for `command &` in a script.
    SIGHUP stays ignored where it was: that is what `nohup` is for.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)


@contextmanager
def finishing() -> Generator[None]:
    """Lets a short block end first: what would interrupt it does so at its end.

    A thread that is not the main one is never interrupted, and needs none of this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    usual = {each: signal.getsignal(each) for each in _ENDING}
    for each in _ENDING:
        if usual[each] is not signal.SIG_IGN:
            signal.signal(each, note)
    try:
        yield
    finally:
        for each, handler in usual.items():
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)  # not an exception: asyncio has a handler of its own for this one
