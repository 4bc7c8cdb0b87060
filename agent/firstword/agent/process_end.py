"""What a process does when it ends, also after a crash of the entrypoint: it exports what it has, within bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing.util import Finalize

EXPORT_AT_END_S = 2.5
"""How long a process that ends waits for a collector that doesn't answer, for spans and again for metrics.

The SDK's own shutdown takes longer than the 10 s after which LiveKit kills the process.
"""


def at_process_end(export: Callable[[], None], then: Callable[[], None] = lambda: None) -> None:
    """Call it when the process ends: later than the job's own last span.

    then: called when that is done, or has taken too long.
    """

    def bounded() -> None:
        last = threading.Thread(target=export, daemon=True)
        last.start()
        last.join(EXPORT_AT_END_S)
        then()

    # atexit's functions don't run in the processes of multiprocessing before Python 3.13; these run in any process
    Finalize(None, bounded, exitpriority=0)
