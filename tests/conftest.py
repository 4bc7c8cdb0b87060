"""What all tests share: nothing of the shell reaches them, so that a key or an address in it changes no result."""

from __future__ import annotations

import os

OURS = ("LIVEKIT_", "OPENAI_", "DEEPGRAM_", "FIRSTWORD_", "OTEL_", "FLAGD_")

for name in [name for name in os.environ if name.startswith(OURS)]:
    del os.environ[name]
