"""A pytest plugin with the fixtures of this package: `pytest_plugins = ["firstword.agent.testing.fixtures"]`."""

from __future__ import annotations

import pytest

from firstword.agent.testing.greeted import FirstWordTest
from firstword.agent.testing.virtual import LiveKitTest


@pytest.fixture
def livekit_test() -> LiveKitTest:
    """Fixture: returns a new `LiveKitTest`, which runs scenarios with a fake LiveKit server on virtual time."""
    return LiveKitTest()


@pytest.fixture
def first_word_test() -> FirstWordTest:
    """Fixture: returns a new `FirstWordTest`, which runs entrypoints that speak first."""
    return FirstWordTest()
