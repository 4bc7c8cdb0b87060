"""Imports without looking for garbage in between: they make next to none, and looking costs a fifth of a worker's start.

Imported before all else by the worker's process, by the one that jobs are forked from (`firstword.agent.process.preload`), and by those that
run our tests; by nothing else, since importing it turns the collector off.
"""

from __future__ import annotations

import gc

gc.disable()


def collect_from_now_on() -> None:
    """Once all is imported: look for garbage again, but only in what is made from now on."""
    gc.freeze()
    gc.enable()
