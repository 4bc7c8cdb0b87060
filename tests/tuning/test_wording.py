"""How names and numbers are written for people."""

from __future__ import annotations

import pytest

from firstword.tuning.wording import short_name


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("entrypoint", "entrypoint"),
        ("Agent.on_enter", "Agent.on_enter"),
        ("entrypoint.<locals>.read", "read"),
        ("SynthesizeStream._run.<locals>._recv_task", "SynthesizeStream._recv_task"),
        ("a.<locals>.B.c.<locals>.d", "B.d"),
        ("a.<locals>.<lambda>", "<lambda>"),
        ("", ""),
    ],
)
def test_a_function_is_named_without_those_around_it(name: str, short: str) -> None:
    """A line of a terminal has room for it; its class stays."""
    assert short_name(name) == short
