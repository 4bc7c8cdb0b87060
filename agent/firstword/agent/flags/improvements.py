"""The improvements, one flag each, and the profiles that turn them on.

Between the flag source and the plan: `firstword.agent.startup` declares with these names what each one changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Literal

Subject = Literal["process", "session"]
"""Whom a flag is drawn for. A rule knows a session's room, and its account if it has one; it knows nothing of a
process.
"""


class Improvement(StrEnum):
    """The improvements by the names of their flags, in the order of docs/improvements.md."""

    PARALLEL_INIT = "parallel-init"
    LAZY_ROOM_OPTIONS = "lazy-room-options"
    CACHED_CONFIG = "cached-config"
    DEFERRED_SETUP = "deferred-setup"
    ACCOUNT_CACHE = "account-cache"
    COMPONENT_POOL = "component-pool"
    ASSISTANT_PREWARM = "assistant-prewarm"
    SMART_GREETING = "smart-greeting"
    LIGHT_CONNECT = "light-connect"
    DEFERRED_METRICS = "deferred-metrics"


PER_PROCESS = frozenset(
    {
        Improvement.CACHED_CONFIG,
        Improvement.ACCOUNT_CACHE,
        Improvement.COMPONENT_POOL,
        Improvement.ASSISTANT_PREWARM,
        Improvement.SMART_GREETING,
    }
)
"""Flags that act before any session. They are drawn once a process, else sessions with the flag off would profit too.
"""


SUBJECTS: Mapping[str, Subject] = {
    improvement.value: "process" if improvement in PER_PROCESS else "session" for improvement in Improvement
}
"""All flags by name, and whom each is drawn for."""


NO_CHANGE = "no-change"
"""A flag that changes nothing. Workers draw it for each session, so that the tuner can be tried on it before it moves
any other (docs/tuner.md).
"""


DRAWN: Mapping[str, Subject] = {**SUBJECTS, NO_CHANGE: "session"}
"""All flags that workers draw: those of `SUBJECTS`, and the one that changes nothing."""


PROFILES: Mapping[str, frozenset[Improvement]] = {
    "baseline": frozenset(),
    "tuned": frozenset(Improvement),
}
"""Profiles by name, each with the flags that are on in it."""


class UnknownFlag(Exception):
    """Raised for the name of a profile or flag that does not exist. The message names the nearest right ones."""


@dataclass(frozen=True, slots=True)
class Flags:
    """The set of improvements that are on for one session or process."""

    on: frozenset[Improvement]

    def __contains__(self, improvement: Improvement) -> bool:
        return improvement in self.on

    def as_conditions(self) -> dict[str, bool]:
        """Returns each flag's name with whether it is on, as a plan's shape takes them."""
        return {improvement.value: improvement in self.on for improvement in Improvement}

    def variants(self) -> dict[str, str]:
        """Returns each flag's name with `on` or `off`, as the trace shows them."""
        return {name: "on" if on else "off" for name, on in self.as_conditions().items()}


def profile(text: str) -> Flags:
    """Returns the flags of a profile: `baseline`, `tuned`, or names of flags with commas. Raises UnknownFlag."""
    if text in PROFILES:
        return Flags(PROFILES[text])
    names = text.split(",")
    known = [improvement.value for improvement in Improvement]
    for name in names:
        if name not in known:
            near = get_close_matches(name, [*PROFILES, *known], n=2) or [*PROFILES, *known]
            raise UnknownFlag(f"no profile or flag is named {name!r}; there is: {', '.join(near)}")
    return Flags(frozenset(Improvement(name) for name in names))
