"""The improvements as flags: profiles, and what a wrong name gets."""

from __future__ import annotations

import pytest

from firstword.agent.flags.improvements import PROFILES, Improvement, UnknownFlag, profile
from firstword.agent.startup import ACCOUNT_IN_METADATA, plan


def test_profiles() -> None:
    """`baseline` is every improvement off, `tuned` every one on."""
    assert set(profile("baseline").variants().values()) == {"off"}
    assert set(profile("tuned").variants().values()) == {"on"}
    assert set(profile("baseline").variants()) == set(Improvement)


def test_flags_by_name() -> None:
    """Flags by name, with commas, are on; the others are off."""
    flags = profile("deferred-setup,parallel-init")
    assert Improvement.DEFERRED_SETUP in flags
    assert Improvement.CACHED_CONFIG not in flags
    assert [name for name, variant in flags.variants().items() if variant == "on"] == [
        "parallel-init",
        "deferred-setup",
    ]
    assert flags.as_conditions()["parallel-init"] is True


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("tunned", "tuned"), ("parallel_init", "parallel-init"), ("deferred-setup,cached-confg", "cached-config")],
)
def test_wrong_name(wrong: str, near: str) -> None:
    """A name nobody knows gets the nearest right one."""
    with pytest.raises(UnknownFlag, match=near):
        profile(wrong)


def test_name_like_none() -> None:
    """A name that is like none gets all there are."""
    with pytest.raises(UnknownFlag) as error:
        profile("xyzzy")
    for name in (*PROFILES, *Improvement):
        assert name in str(error.value)


def test_plan_knows_the_flags() -> None:
    """What shapes the plan is an improvement, or the one fact about the session."""
    assert set(plan.flags) <= {*Improvement, ACCOUNT_IN_METADATA}
