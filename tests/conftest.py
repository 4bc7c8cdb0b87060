"""What all tests share: nothing of the shell reaches them, and the servers they need are there before the first begins."""

from __future__ import annotations

from firstword.agent.process import gc_off  # isort: skip # each process imports all tests

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

from firstword.command.process_end import ProcessEnd
from firstword.command.progress import Lines
from firstword.command.signals import end_as_by_ctrl_c
from firstword.rehearsal.servers import NoServer
from tests.servers import make_available, needed

pytest_plugins = ["firstword.telemetry.testing", "tests.leftovers"]

OURS = ("LIVEKIT_", "OPENAI_", "DEEPGRAM_", "FIRSTWORD_", "OTEL_", "FLAGD_")

for name in [name for name in os.environ if name.startswith(OURS)]:
    del os.environ[name]

end = ProcessEnd()

# An example may take as long as a busy machine lets it.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")
settings.register_profile("soak", max_examples=100 * int(os.environ.get("SOAK_EXAMPLES", "100")))


@pytest.fixture(autouse=True)
def _environment_of_one_test() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    """Reading the settings fills the environment from `.env.local`, for the rest of a process; here of a test."""
    before = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
    yield
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(before)


def pytest_configure() -> None:
    """Fixtures end what they started whatever ends the run; and what a test starts does not inherit an ignored SIGINT."""
    end_as_by_ctrl_c()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """All tests passed, and then LiveKit's native client aborted the process: that is no failure of theirs."""
    end.with_code(int(exitstatus))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported by now stays: no test looks for garbage in it. And no test waits for the build of a server."""
    gc_off.collect_from_now_on()
    if session.config.option.collectonly:
        return
    markers = {marker.name for item in session.items for marker in item.iter_markers()}
    try:
        make_available(needed(markers), Lines(session.config.get_terminal_writer().line))
    except NoServer as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
