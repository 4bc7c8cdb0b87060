"""What the tests of simulators share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from firstword.rehearsal.providers.server import ProviderAddresses
from tests.rehearsal.quick_simulators import quick_simulators


@pytest.fixture
async def addresses(tmp_path: Path) -> AsyncGenerator[ProviderAddresses]:
    """Of simulators that answer at once."""
    async with quick_simulators(tmp_path) as running:
        yield running
