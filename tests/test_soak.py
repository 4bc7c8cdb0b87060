"""tools/soak.py tells a test that failed from one that could not run here, and goes on where it was interrupted."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from platform import python_version

import pytest

from tools import soak
from tools.soak import Round, judged, passed_before

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


def test_what_passed_on_this_commit_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor anything of a commit with changes, of fewer examples, or of another Python."""
    passed = Round(
        "2026-11-30T16:00:00+00:00", "abc1234", python_version(), "calls", 1, 20, 100, "passed", 1.0, "1 passed"
    )
    rounds = [
        passed,
        replace(passed, round=2, outcome="failed"),
        replace(passed, round=3, commit="def5678"),
        replace(passed, round=4, examples=5),
        replace(passed, round=5, python="3.9.1"),
    ]
    monkeypatch.setattr(soak, "RESULTS", tmp_path / "results.jsonl")
    assert passed_before("abc1234", 100) == {}
    soak.RESULTS.write_text("".join(json.dumps(asdict(each)) + "\n" for each in rounds))
    assert passed_before("abc1234", 100) == {("calls", 1, 20): passed}
    assert passed_before("abc1234-dirty", 100) == {}
