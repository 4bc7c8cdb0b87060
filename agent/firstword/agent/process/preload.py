"""Imports once, in the process that jobs are forked from, all that a job needs: the module of LiveKit's
`preload_modules`.

Beside LiveKit's own preloading, which comes after it. Where jobs are threads, the worker's own process imports it.
"""

from __future__ import annotations

from firstword.agent.process import gc_off  # isort: skip

import contextlib
import importlib

from livekit import local_inference

from firstword.agent import parts
from firstword.agent.settings import settings

for name in (
    "firstword.agent.entrypoint",
    "firstword.agent.flags.flag_source",
):  # a session, and what `firstword.agent.worker` adds
    importlib.import_module(name)
parts.import_plugins(settings())
# an error here would end the forkserver; a session that wants the VAD says why it can't be had
with contextlib.suppress(Exception):
    local_inference.init_vad()
gc_off.collect_from_now_on()
