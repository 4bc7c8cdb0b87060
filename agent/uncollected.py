"""Imports without looking for garbage in between: they make next to none, and looking costs a fifth of a worker's start.

Imported before all else by the worker's process, and before the rest of the agent by the one that jobs are forked from;
by nothing else, since importing it turns the collector off. `agent.process` turns it on again.
"""

from __future__ import annotations

import gc

gc.disable()
