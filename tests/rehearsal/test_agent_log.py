"""Why an agent failed, told from its log: one line, with the line of the agent's own file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firstword.rehearsal.agent_log import Failure, complaint, failure

HERE = Path("/agents/ada")
LIBRARY = "/agents/ada/.venv/lib/python3.12/site-packages/livekit/agents/voice/agent_session.py"


def record(level: str, message: str, exception: str | None = None) -> str:
    return json.dumps({"message": message, "level": level, "pid": 1, **({"exc_info": exception} if exception else {})})


def traceback(*frames: tuple[str, int], last: str) -> str:
    lines = "".join(f'  File "{file}", line {line}, in f\n    f()\n' for file, line in frames)
    return f"Traceback (most recent call last):\n{lines}{last}"


ENTRYPOINT = record(
    "ERROR",
    "unhandled exception while running the job task\nTraceback (most recent call last):\n  ...",
    traceback(
        (f"{HERE}/agent.py", 12), (f"{HERE}/shop/stock.py", 3), (LIBRARY, 900), last="ValueError: no key\nset one"
    ),
)
TOOL = record("ERROR", "a tool failed", traceback((f"{HERE}/tools.py", 5), last="KeyError: 'x'"))
TRIED_AGAIN = record(
    "ERROR", "failed to synthesize", traceback((LIBRARY, 7), last="livekit.agents._exceptions.APIConnectionError: no")
)
NO_PROCESS = record(
    "ERROR",
    "error initializing process",
    traceback((LIBRARY, 9), last="RuntimeError: process initialization failed: no"),
)
LATE_PROCESS = record("ERROR", "error initializing process", traceback((LIBRARY, 9), last="TimeoutError"))
STARTED = record("INFO", "registered worker")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([STARTED], None),
        ([STARTED, ENTRYPOINT], Failure("ValueError: no key", f"{HERE}/shop/stock.py:3", ended=True)),
        ([TOOL, ENTRYPOINT], Failure("ValueError: no key", f"{HERE}/shop/stock.py:3", ended=True)),
        ([STARTED, TOOL], Failure("KeyError: 'x'", f"{HERE}/tools.py:5", ended=False)),
        ([TRIED_AGAIN], Failure("livekit.agents._exceptions.APIConnectionError: no", None, ended=False)),
        ([NO_PROCESS], Failure("RuntimeError: process initialization failed: no", None, ended=True)),
        ([LATE_PROCESS], Failure("TimeoutError", None, ended=False)),
        (
            [STARTED, traceback((f"{HERE}/agent.py", 2), last="RuntimeError: over"), '{"message": "cut'],
            Failure("RuntimeError: over", f"{HERE}/agent.py:2", ended=True),
        ),
    ],
    ids=[
        "none",
        "entrypoint",
        "entrypoint before a tool",
        "tool",
        "a library's",
        "no process",
        "a process that came too late",
        "the worker's own",
    ],
)
def test_the_failure_of_a_log(lines: list[str], found: Failure | None) -> None:
    """That of an entrypoint goes before any other; the innermost line of the agent's own names it, no library's."""
    assert failure("\n".join(lines), HERE) == found


def test_it_is_shown_from_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As somebody who types there would."""
    log = traceback((f"{tmp_path}/agent.py", 2), last="RuntimeError: over")
    assert str(failure(log, tmp_path)) == "agent.py:2: RuntimeError: over"


def test_a_complaint_is_the_last_warning() -> None:
    """For want of an exception; what is only told is none."""
    warned = record("WARNING", "The room connection was not established")
    assert (
        complaint("\n".join([record("WARNING", "first"), warned, ENTRYPOINT, STARTED]))
        == "The room connection was not established"
    )
    assert complaint(STARTED) is None
