"""benchmarks/improvement_tables.py: what the factorial says of flags whose effects are known."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from benchmarks.improvement_tables import (
    FACTORIAL_DISPATCH,
    LETTERS,
    Lived,
    alias_groups,
    factorial,
    profile_of,
    tables,
)
from firstword.agent.flags.improvements import Improvement
from firstword.rehearsal.workers import FLOOR

SAVES = {flag: 10.0 * number for number, flag in enumerate(Improvement, 1)}
"""Milliseconds, each flag alone."""
PAIR = (Improvement.SMART_GREETING, Improvement.LIGHT_CONNECT)
TOGETHER = 300.0
"""Milliseconds that the pair saves beyond each alone."""


def heard_ms(on: frozenset[Improvement]) -> float:
    """The model: additive but for one pair."""
    return 2000 - sum(SAVES[flag] for flag in on) - TOGETHER * on.issuperset(PAIR)


@pytest.fixture(scope="module")
def shown() -> dict[str, list[float]]:
    """Flag's name or pairs -> milliseconds with `join` and with `ahead`; three sessions a cell, all alike."""
    lived = [
        Lived(profile, dispatch, "1", ms / 1000)
        for dispatch in FACTORIAL_DISPATCH
        for profile, ms in [(FLOOR, 500.0), *((profile_of(on), heard_ms(on)) for on in factorial())]
        for _ in range(3)
    ]
    rows = re.findall(
        r"^\| (?:. \| )?(.+) \| ([+-]\d+) \(.*\) \| ([+-]\d+) \(.*\) \|$", tables(lived, []), re.MULTILINE
    )
    return {name.strip("`"): [float(join), float(ahead)] for name, join, ahead in rows}


def test_main_effects_come_out(shown: dict[str, list[float]]) -> None:
    """What a flag saves alone; of what a pair saves together each has half, as the other is on in half of the runs."""
    for flag, saves in SAVES.items():
        assert shown[flag] == [saves + (TOGETHER / 2 if flag in PAIR else 0)] * 2


def test_the_pair_comes_out_and_no_other(shown: dict[str, list[float]]) -> None:
    """All of what it saves together beyond each alone, on the row that names it."""
    pairs = {name: values for name, values in shown.items() if " with " in name}
    assert len(pairs) == len(alias_groups())
    for name, values in pairs.items():
        named = f"{LETTERS[PAIR[0]]} with {LETTERS[PAIR[1]]}" in name.split(", ")
        assert values == [TOGETHER if named else 0] * 2


def test_the_design_is_of_resolution_four() -> None:
    """Flags are orthogonal to each other and to all pairs; each is on in half of the runs; pairs are mixed with pairs alone."""
    runs = factorial()
    assert len(set(runs)) == len(runs) == 32
    signs = {flag: np.array([1 if flag in on else -1 for on in runs]) for flag in Improvement}
    for flag in Improvement:
        assert signs[flag].sum() == 0
        for a, b in combinations(Improvement, 2):
            assert (signs[flag] * signs[a] * signs[b]).sum() == 0
    for a, b in combinations(Improvement, 2):
        assert signs[a] @ signs[b] == 0
    groups = alias_groups()
    assert sorted(pair for pairs, _ in groups for pair in pairs) == sorted(combinations(Improvement, 2))
    for (_, one), (_, other) in combinations(groups, 2):
        assert np.dot(one, other) == 0
