"""What all tests share: nothing of the shell reaches them, and the servers they need are there before the first begins."""

from __future__ import annotations

import os

import pytest

from firstword.progress import Lines
from rehearsal.servers import NoServer
from tests.servers import make_available, needed

OURS = ("LIVEKIT_", "OPENAI_", "DEEPGRAM_", "FIRSTWORD_", "OTEL_", "FLAGD_")

for name in [name for name in os.environ if name.startswith(OURS)]:
    del os.environ[name]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch or build what the selected tests need, with a line every ten seconds: no test's timeout allows for it."""
    if session.config.option.collectonly:
        return
    servers = needed(marker.name for item in session.items for marker in item.iter_markers())
    write = session.config.get_terminal_writer().line
    try:
        make_available(servers, Lines(write))
    except NoServer as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
