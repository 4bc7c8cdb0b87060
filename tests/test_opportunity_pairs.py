"""The pairs of benchmarks/opportunities.py: one for each rule, and a verdict that can be no."""

from __future__ import annotations

import ast
import json
import math

import pytest

from benchmarks.opportunities import PAIRS, UNPREDICTED, SavingCheck, check_of
from firstword.tuning.audit.opportunities import RULES


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_a_rule_has_two_versions_of_an_agent(rule: str) -> None:
    """Of two files, or of one that is called in two ways."""
    pair = PAIRS[rule]
    for version in (pair.before, pair.after):
        assert ast.get_docstring(ast.parse(version.file.read_text()))
    assert pair.before != pair.after


def check(predicted_s: float | None, *before_s: float, rule: str = "read-waits-in-line") -> SavingCheck:
    """As the file tells of a pair whose second version was heard after 1 s each time."""
    interval = None if predicted_s is None else [predicted_s - 0.1, predicted_s + 0.1]
    after_s = [1.0] * len(before_s)
    told = {"rule": rule, "before_s": before_s, "after_s": after_s, "predicted_s": predicted_s, "range_s": interval}
    return check_of(json.dumps(told))


@pytest.mark.parametrize(
    ("predicted_s", "near", "inside"),
    [(0.52, True, True), (0.61, False, False), (0.39, False, False), (0.45, True, True), (None, False, True)],
)
def test_a_prediction_is_held_against_what_was_saved(predicted_s: float | None, near: bool, inside: bool) -> None:
    """0.5 s of them: within 20 %."""
    found = check(predicted_s, 1.4, 1.5, 1.6)
    assert (found.near, found.inside) == (near, inside)
    assert found.saved == pytest.approx(0.5)
    assert ("OFF" in found.row) is not near


def test_a_small_saving_may_be_off_by_40_ms() -> None:
    assert check(0.09, 1.05, 1.05, 1.05).near
    assert not check(0.1, 1.05, 1.05, 1.05).near


@pytest.mark.parametrize("others_s", [(), (1.4, 1.5, 1.6)])
def test_a_caller_who_heard_nothing_is_in_no_figure(others_s: tuple[float, ...]) -> None:
    """And the prediction is not held to be right."""
    found = check(0.5, math.inf, *others_s)
    assert not found.near
    assert found.unheard == 1
    assert "1 rounds unheard" in found.row
    assert not others_s or found.saved == pytest.approx(0.5)


def test_a_rule_without_a_prediction_is_not_off() -> None:
    (rule,) = UNPREDICTED
    found = check(None, 1.4, 1.5, 1.6, rule=rule)
    assert found.near
    assert "not predicted" in found.row
