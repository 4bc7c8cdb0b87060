"""What we take from LiveKit that it does not publish: each name once, with what breaks when an upgrade moves it.

When the worker received a job is private to LiveKit too; `telemetry.livekit` reads it, for any agent.

`tests/agent/test_livekit_private.py` fails on such an upgrade.
"""

from __future__ import annotations

import importlib
from typing import Any


def noise_cancellation() -> Any:
    """LiveKit's background voice cancellation; it wants LiveKit Cloud. Raises ImportError without the extra (settings say so first)."""
    plugin: Any = importlib.import_module("livekit.plugins.noise_cancellation")
    return plugin.BVC()


def start_native_runtime() -> None:
    """Start LiveKit's native client in this process; for jobs in threads before the first of them.

    livekit 1.1.21: `rtc._ffi_client.FfiClient.instance` is made at its first use and without a lock. Two jobs that begin
    at once make two, and the events of one never arrive: its `connect` hangs.
    """
    from livekit.rtc._ffi_client import FfiClient

    _ = FfiClient.instance
