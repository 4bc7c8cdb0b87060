"""The provider simulators in the test's own process, and the settings that lead a worker's parts to them.

For tests of what speaks without a room: the plugins are the real ones, the caches and stores real files.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from livekit.agents.utils import http_context

from firstword.agent.settings import Settings
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.server import simulators

_QUICK = """
[connection]
median_ms = 1
[tts]
first_byte = { median_ms = 20 }
"""
REFUSING = """
[tts]
faults = { refuse = 1 }
"""


def made(folder: Path, **changed: object) -> Settings:
    """Settings whose store lies in `folder`, with these fields changed; the providers are nowhere."""
    return Settings.model_validate(
        {
            "LIVEKIT_URL": "ws://127.0.0.1:9",
            "LIVEKIT_API_KEY": "key",
            "LIVEKIT_API_SECRET": "secret",
            "OPENAI_API_KEY": "simulated",
            "DEEPGRAM_API_KEY": "simulated",
            "store_url": f"sqlite:///{folder / 'accounts.db'}",
            **changed,
        }
    )


@asynccontextmanager
async def simulated(folder: Path, model: str = _QUICK) -> AsyncGenerator[Settings]:
    """The simulators under this latency model, with an HTTP session for the plugins: settings that lead there."""
    (folder / "providers.toml").write_text(model)
    async with simulators(Latencies.load(folder / "providers.toml")) as addresses, http_context.open():
        yield made(folder, OPENAI_BASE_URL=addresses.openai, DEEPGRAM_BASE_URL=addresses.deepgram)
