"""Completes the names of flags and profiles when Tab is pressed, for the options that take them."""

from __future__ import annotations

from firstword.agent.flags.improvements import PROFILES, Improvement


def flag_names(incomplete: str) -> list[str]:
    """Returns the names of flags that begin with what is typed so far, for the shell's completion."""
    return [name for name in Improvement if name.startswith(incomplete)]


def profile_names(incomplete: str) -> list[str]:
    """Returns the names of profiles and flags that begin with what is typed so far, for the shell's completion.

    After a comma it completes the last name alone, with flags that are not in the list yet.
    """
    before, comma, begun = incomplete.rpartition(",")
    named = before.split(",")
    profiles = () if comma else PROFILES
    return [
        f"{before}{comma}{name}"
        for name in (*profiles, *flag_names(begun))
        if name.startswith(begun) and name not in named
    ]
