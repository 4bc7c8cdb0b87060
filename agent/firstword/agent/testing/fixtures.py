"""A pytest plugin: `pytest_plugins = ["firstword.agent.testing.fixtures"]`."""

from __future__ import annotations

import pytest

from firstword.agent.testing.greeted import FirstWordTest
from firstword.agent.testing.virtual import LiveKitTest


@pytest.fixture
def livekit_test() -> LiveKitTest:
    """A fresh `LiveKitTest`."""
    return LiveKitTest()


@pytest.fixture
def first_word_test() -> FirstWordTest:
    """A fresh `FirstWordTest`."""
    return FirstWordTest()
