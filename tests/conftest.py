"""What all tests share: nothing of the shell reaches them, and the servers they need are there before the first begins.

With `-n 4`, as `make test` has it, each of `LANES` has a process of its own: on two cores, since most tests mostly wait.
"""

from __future__ import annotations

from firstword.agent.process import gc_off  # isort: skip # each process imports all tests

import os
from collections.abc import Iterable
from typing import NamedTuple

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from firstword.command.progress import Lines
from firstword.rehearsal.servers import JAEGER, LIVEKIT, NoServer, Server
from tests.servers import make_available, needed

pytest_plugins = ["firstword.telemetry.testing"]

OURS = ("LIVEKIT_", "OPENAI_", "DEEPGRAM_", "FIRSTWORD_", "OTEL_", "FLAGD_")


class Lane(NamedTuple):
    """Tests that run one after the other, in their order, in one process; as many lanes run at once as there are processes."""

    name: str
    nice: int
    """How far it gives way: two cores are few, and a caller who listens to every sample wants one now."""
    begins: tuple[str, ...]
    """Of the ids of its tests, but for those of the lanes before it."""


LANES = (
    Lane(
        "callers",
        0,
        (
            *("tests/calls/test_callers.py", "tests/calls/test_console.py", "tests/calls/test_session.py"),
            *("tests/test_collector.py", "tests/test_up.py", "tests/tuning/test_jaeger.py", "examples/"),
        ),
    ),
    Lane("workers", 5, ("tests/calls/", "tests/test_metrics_end_to_end.py", "tests/test_wheel.py")),
    Lane(
        "commands",
        10,
        ("tests/command/", "tests/rehearsal/", "tests/test_examples.py", "tests/test_readme.py"),
    ),
    Lane("all else", 19, ("",)),
)
"""A test is of the first that names it. One lane takes about as long as another."""

for name in [name for name in os.environ if name.startswith(OURS)]:
    del os.environ[name]


def lane_of(nodeid: str) -> Lane:
    """The lane of a test."""
    return next(lane for lane in LANES if nodeid.startswith(lane.begins))


class InLanes(LoadScopeScheduling):
    """A process takes a lane, and the next one that nobody has taken; xdist's own order is by number of tests."""

    def _split_scope(self, nodeid: str) -> str:
        return lane_of(nodeid).name


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> InLanes:
    """Whatever `--dist` says."""
    return InLanes(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Beside others a process gives way by its lane, from its first test on; what it starts gives way with it."""
    if _beside_others(item.config):
        os.setpriority(os.PRIO_PROCESS, 0, max(lane_of(item.nodeid).nice, os.getpriority(os.PRIO_PROCESS, 0)))


def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """All servers, before there are other processes: what waits for a build in one of those can't say so."""
    _make_available((LIVEKIT, JAEGER), config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported by now stays: no test looks for garbage in it. And in one process, the servers that the selected tests need."""
    gc_off.collect_from_now_on()
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
