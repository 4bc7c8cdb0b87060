"""Imports without looking for garbage in between: they make none, and looking costs a fifth of a worker's start.

Imported before all else by the worker's process, and before the rest of the agent by the one that jobs are forked from.
"""

from __future__ import annotations

import gc

gc.disable()


def collect_from_now_on() -> None:
    """Look for garbage again, but only in what is made from now on. Once a process: what a job in a thread made may be garbage."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
