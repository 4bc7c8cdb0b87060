"""Who is taken to use what a task left running, by starts in which they met and in which they did not."""

from __future__ import annotations

import pytest

from firstword.tuning.left_running import Use, uses_in
from firstword.tuning.start import LeftRunning, Method, RecordedStart, TracedTask

USED = Use("playout", "session", "GET /v1/speak")


def task(name: str, begin: int, end: int, *needs: str, left: int | None = None, deferred: bool = False) -> TracedTask:
    """One task; us."""
    running = () if left is None else (LeftRunning("GET /v1/speak", left),)
    return TracedTask(
        name, f"{begin:016x}", begin, end - begin, needs, (), None, None, None, None, None, None, None, None, None,
        deferred, detached=False, left_running=running,
    )  # fmt: skip


def start(*tasks: TracedTask) -> RecordedStart:
    return RecordedStart("a", "b", "session.startup", 0, 2_000, Method.EXACT, (), tasks=tasks)


def session_until_100(left: int, playout: tuple[int, int]) -> RecordedStart:
    return start(task("session", 0, 100, left=left), task("playout", *playout, "session"))


@pytest.mark.parametrize(
    ("starts", "uses"),
    [
        pytest.param([session_until_100(200, (300, 500))] * 3, {USED}, id="always over before"),
        pytest.param([session_until_100(400, (300, 500))] * 3, set[Use](), id="never over before, so nothing is known"),
        pytest.param(
            [session_until_100(200, (300, 500))] * 3 + [session_until_100(400, (300, 600))],
            {USED},
            id="took longer where it was not",
        ),
        pytest.param(
            [session_until_100(200, (300, 500))] * 3 + [session_until_100(400, (300, 505))],
            set[Use](),
            id="took no longer where it was not",
        ),
        pytest.param(
            [start(task("session", 0, 100, left=200), task("playout", 300, 500))], set[Use](), id="does not need it"
        ),
        pytest.param(
            [start(task("session", 0, 100, left=200), task("playout", 300, 500, "session", deferred=True))],
            set[Use](),
            id="after the first word",
        ),
        pytest.param([start(task("playout", 300, 500, "session"))], set[Use](), id="whose need is not in the trace"),
        pytest.param([], set[Use](), id="no start"),
    ],
)
def test_who_uses_it(starts: list[RecordedStart], uses: set[Use]) -> None:
    """By how long the user took."""
    assert uses_in(starts) == uses
