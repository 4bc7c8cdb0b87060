"""Turns Python's garbage collector off while a process imports: imports make little garbage, and collecting takes a
fifth of a worker's start.

The worker's process imports it before all else. So do the process that jobs are forked from
(`firstword.agent.process.preload`) and those that run our tests. Nothing else may: importing it turns the collector
off.
"""

from __future__ import annotations

import gc

gc.disable()


def collect_from_now_on() -> None:
    """Turns the garbage collector on again, for objects made from now on only. Call it once all is imported."""
    gc.freeze()
    gc.enable()
