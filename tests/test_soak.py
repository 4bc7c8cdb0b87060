"""tools/soak.py tells a test that failed from one that could not run here."""

from __future__ import annotations

import pytest

from tools.soak import judged

SKIP = "SKIPPED [1] tests/test_image.py:12: needs buildah on PATH\n"


@pytest.mark.parametrize(
    ("code", "output", "outcome", "summary"),
    [
        (0, ".\n1 passed in 0.10s\n", "passed", "1 passed in 0.10s"),
        (0, f"s\n{SKIP}1 skipped in 0.10s\n", "not run", "needs buildah on PATH"),
        (0, f".s\n{SKIP}1 passed, 1 skipped in 0.10s\n", "passed", "1 passed, 1 skipped in 0.10s"),
        (1, "F\n1 failed in 0.10s\n", "failed", "1 failed in 0.10s"),
        (5, "no tests ran in 0.01s\n", "failed", "no tests ran in 0.01s"),
        (None, "", "failed", ""),
    ],
)
def test_a_round_is_judged(code: int | None, output: str, outcome: str, summary: str) -> None:
    """By pytest's exit code and what it printed; None: its limit ended it."""
    assert judged(code, output) == (outcome, summary)
