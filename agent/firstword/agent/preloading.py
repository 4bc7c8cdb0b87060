"""Has a module imported once, in the process that all processes of a worker's jobs are forked from.

LiveKit imports there what is registered as a plugin (livekit-agents 1.8.9, `worker.py`, on Linux). So an agent that
imports `speak_first` has it in each job's process, and no process spends a caller's time on it.
"""

from __future__ import annotations

import threading

from livekit.agents import Plugin


class _Preloaded(Plugin):
    """A module, for LiveKit."""


def preload(module: str) -> None:
    """Has LiveKit import the module in the process that jobs are forked from. Does nothing on another thread than the
    main one.
    """
    known = {plugin.package for plugin in Plugin.registered_plugins}
    if module not in known and threading.current_thread() is threading.main_thread():
        Plugin.register_plugin(_Preloaded("firstword", "", module))
