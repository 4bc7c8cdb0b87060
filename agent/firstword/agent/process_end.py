"""Exports what a process still has when it ends, within a time limit, also after a crash of the entrypoint."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing.util import Finalize

EXPORT_AT_END_S = 2.5
"""Seconds that a process that ends waits for a collector that doesn't answer, for spans and again for metrics.

The SDK's own shutdown takes longer than the 10 s after which LiveKit kills the process.
"""


def at_process_end(export: Callable[[], None], then: Callable[[], None] = lambda: None) -> None:
    """Has `export` called when the process ends, after the job's own last span, for at most `EXPORT_AT_END_S` seconds.

    then: called when that is done, or has taken too long.
    """

    def bounded() -> None:
        last = threading.Thread(target=export, daemon=True)
        last.start()
        last.join(EXPORT_AT_END_S)
        then()

    # atexit's functions don't run in the processes of multiprocessing before Python 3.13; these run in any process
    Finalize(None, bounded, exitpriority=0)
