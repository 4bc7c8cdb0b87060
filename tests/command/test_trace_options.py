"""The options that all commands share which read traces."""

from __future__ import annotations

import pytest

from firstword.command.__main__ import imported

READS_TRACES = ("critical-chain", "blame", "plot", "what-if", "compare", "tune", "check", "save", "diff")


def options_of(name: str) -> list[tuple[list[str], object]]:
    """Each option of a command with its default, in the order of its help."""
    return [(option.opts, option.default) for option in imported(name).params]


@pytest.mark.parametrize("name", READS_TRACES)
def test_they_stand_last_and_are_the_same_in_each(name: str) -> None:
    """Who knows one command knows them all: `save` has no other option."""
    shared = options_of("save")[1:]
    assert [opts[0] for opts, _ in shared] == [
        *("--last", "--jaeger", "--traces", "--since", "--service", "--limit", "--json")
    ]
    assert options_of(name)[-len(shared) :] == shared
