"""Ends a command in one way, whatever ends it: SIGTERM and SIGHUP do what Ctrl-C does."""

import signal
from types import FrameType


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


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)  # not an exception: asyncio has a handler of its own for this one
