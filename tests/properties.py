"""How many examples a property is tried on: what a test says in `make test`, a hundred times as many in `make soak`."""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100
"""Examples of a property that says nothing, outside of the soak."""


def examples(count: int) -> int:
    """`count` of them, or as many more as the profile of this run asks for; for `settings(max_examples=...)`."""
    return count * settings().max_examples // _USUAL
