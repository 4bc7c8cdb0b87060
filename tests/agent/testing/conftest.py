"""The servers that the tests of the fake run on."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.agent.testing.servers import FakeServers, Servers, real_servers


@pytest.fixture(scope="package", params=["fake", pytest.param("real", marks=pytest.mark.real)])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Servers]:
    """The fake, then the real one."""
    if request.param == "fake":
        yield FakeServers()
        return
    with real_servers(tmp_path_factory.mktemp("livekit")) as real:
        yield real
