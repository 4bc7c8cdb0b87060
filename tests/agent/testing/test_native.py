"""The fake in the native client's place: what is left of it when it has gone."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
from livekit.rtc import _ffi_client
from firstword.agent.testing import FakeCaller, LiveKitTest

async def scenario(livekit):
    caller = FakeCaller(livekit)
    await caller.join()
    return caller

left = LiveKitTest().run(scenario)
again = LiveKitTest().run(scenario)
del left, again  # rooms that were never left
print(type(_ffi_client.FfiClient._instance).__name__)
"""


def test_a_fake_that_has_gone_starts_no_native_client() -> None:
    """Its rooms, when they are garbage, unsubscribe from nothing; a process that only used fakes ends well."""
    ended = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "_Unneeded\n", "")
