"""A module that takes some 400 ms to import."""

from __future__ import annotations

import time

PROMPT = "You are kind."
_end = time.perf_counter() + 0.4
while time.perf_counter() < _end:
    pass
