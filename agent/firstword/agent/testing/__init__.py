"""A fake LiveKit for unit tests: calls on virtual time, in milliseconds. docs/testing.md has an example.

`livekit.rtc` and `livekit.agents` stay LiveKit's own; only the server and the native client below them are ours.
"""

from firstword.agent.testing.caller import FakeCaller
from firstword.agent.testing.greeted import FirstWordTest, GreetedCall
from firstword.agent.testing.job import FakeJob
from firstword.agent.testing.livekit import FakeLiveKit
from firstword.agent.testing.room import Delays
from firstword.agent.testing.virtual import LiveKitTest

__all__ = ["Delays", "FakeCaller", "FakeJob", "FakeLiveKit", "FirstWordTest", "GreetedCall", "LiveKitTest"]
