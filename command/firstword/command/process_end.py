"""Ends this process with its exit code, though LiveKit's native client may still call into Python.

Python takes itself apart after its last `atexit` function. A native thread that enters it then is ended by Python, which
Rust answers by an abort: exit code 134 after all went well. On a busy machine that happens.
"""

from __future__ import annotations

import atexit
import os
import sys

NATIVE = "livekit.rtc"
"""The module that starts those threads."""


class ProcessEnd:
    """Ends the process after all other `atexit` functions, if it has an exit code by then and LiveKit's client is loaded.

    Make one before anything else registers such a function: Python calls them in reverse.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._end)

    def with_code(self, code: int) -> int:
        """Returns `code`, with which the process will end."""
        self._code = code
        return code

    def _end(self) -> None:
        if self._code is None or NATIVE not in sys.modules:
            return
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(self._code)
