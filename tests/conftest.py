"""What all tests share: nothing of the shell reaches them, and the servers they need are there before the first begins.

With `-n 2`, as `make test` has it, one process listens to calls and the other does all else and yields to it: real calls
beside each other on two cores would be late and broken up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from firstword.progress import Lines
from rehearsal.servers import JAEGER, LIVEKIT, NoServer, Server
from tests.servers import make_available, needed

OURS = ("LIVEKIT_", "OPENAI_", "DEEPGRAM_", "FIRSTWORD_", "OTEL_", "FLAGD_")

CALLS = "tests/calls/"
"""Where the tests are that listen to calls, sample by sample."""

for name in [name for name in os.environ if name.startswith(OURS)]:
    del os.environ[name]


class InTwoLanes(LoadScopeScheduling):
    """Calls in one process, in their order, and all other tests in another."""

    def _split_scope(self, nodeid: str) -> str:
        return "calls" if nodeid.startswith(CALLS) else "all else"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> InTwoLanes:
    """Whatever `--dist` says."""
    return InTwoLanes(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Beside another process that listens to calls, what doesn't gives way to it from its first test on."""
    if _beside_others(item.config) and not item.nodeid.startswith(CALLS):
        os.nice(19)  # the most there is: once more changes nothing


def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """All servers, before there are other processes: what waits for a build in one of those can't say so."""
    _make_available((LIVEKIT, JAEGER), config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """In one process, what the selected tests need."""
    if not session.config.option.collectonly and not _beside_others(session.config):
        _make_available(needed(marker.name for item in session.items for marker in item.iter_markers()), session.config)


def _make_available(servers: Iterable[Server], config: pytest.Config) -> None:
    """Fetch or build them, with a line every ten seconds: no test's timeout allows for it."""
    try:
        make_available(servers, Lines(config.get_terminal_writer().line))
    except NoServer as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def _beside_others(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
