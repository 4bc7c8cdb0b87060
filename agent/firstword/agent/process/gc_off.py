"""Imports without looking for garbage in between: they make next to none, and looking costs a fifth of a worker's start.

The worker's process imports it before all else. So do the process that jobs are forked from (`firstword.agent.process.preload`) and those
that run our tests. Nothing else may: importing it turns the collector off.
"""

from __future__ import annotations

import gc

gc.disable()


def collect_from_now_on() -> None:
    """Once all is imported: look for garbage again, but only in what is made from now on."""
    gc.freeze()
    gc.enable()
