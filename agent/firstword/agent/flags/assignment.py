"""Decides which flags a process and its sessions run with: those of the profile, or as the flag source draws them.

Between `firstword.agent.flags.flag_source`, imported only if no profile overrides it, and the process, the call and the
plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from firstword.agent.flags.improvements import NO_CHANGE, PER_PROCESS, Flags, Improvement, profile
from firstword.agent.settings import Settings
from firstword.telemetry.vocabulary import FLAG_PREFIX, FLAGS_BY, FLAGS_BY_PROCESS

if TYPE_CHECKING:
    from firstword.agent.flags.flag_source import Evaluation, FlagSource


@dataclass(frozen=True)
class Assignment:
    """The flags that are on, and for each flag that a source drew the attributes of its standard event
    (`feature_flag.evaluation`).
    """

    flags: Flags
    events: tuple[Mapping[str, str], ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Attributes of the trace's root span: by what the flags were drawn, account or room, and the variant of the flag
    that changes nothing.
    """


def draw_process(settings: Settings) -> Assignment:
    """Returns the flags that act before any session, drawn for this process. With a profile, returns all its flags.
    Raises UnknownFlag.
    """
    if settings.profile is not None:
        return Assignment(profile(settings.profile))
    return _drawn(_source(settings).draw_process())


def possible_for_a_process(settings: Settings) -> Flags:
    """Returns the flags that act before any session and may be on for some process. With a profile, returns all its
    flags.

    It may wait for the flag source until its deadline.
    """
    if settings.profile is not None:
        return profile(settings.profile)
    possible = _source(settings).possible()
    return Flags(frozenset(map(Improvement, possible)))


def draw_session(settings: Settings, process: Assignment, account: str | None, room: str) -> Assignment:
    """Returns the flags of one session: those of its process, plus the others, drawn by account, or by room if there is
    none.

    With a profile, returns the flags of the process. The same account or room always draws the same, until the rules
    change.
    """
    if settings.profile is not None:
        return process
    source = _source(settings)
    drawn = source.draw_session(account, room)
    session = _drawn(each for each in drawn if each.flag != NO_CHANGE)
    # the file names it only while, and after, the tuner is tried on it
    tried = [each for each in drawn if each.flag == NO_CHANGE and each.reason == "targeting_match"]
    return Assignment(
        Flags(process.flags.on | session.flags.on),
        (*process.events, *session.events, *(each.attributes() for each in tried)),
        {
            FLAGS_BY: "account" if account else "room",
            FLAGS_BY_PROCESS: ",".join(sorted(PER_PROCESS)),
            **{FLAG_PREFIX + each.flag: "on" if each.on else "off" for each in tried},
        },
    )


def _source(settings: Settings) -> FlagSource:
    secret = settings.account_key or settings.livekit_api_secret
    return _opened(settings.flag_provider, settings.flags_deadline, secret.get_secret_value())


@cache
def _opened(spec: str | None, deadline: float, secret: str) -> FlagSource:
    # 30 ms of imports that a profile saves
    from firstword.agent.flags.flag_source import FlagSource, other_provider

    return FlagSource(
        per_process=PER_PROCESS,
        per_session=(frozenset(Improvement) - PER_PROCESS) | {NO_CHANGE},
        deadline=deadline,
        provider=other_provider(spec),
        secret=secret,
    )


def _drawn(evaluations: Iterable[Evaluation]) -> Assignment:
    known = tuple(evaluations)
    on = frozenset(Improvement(evaluation.flag) for evaluation in known if evaluation.on)
    return Assignment(Flags(on), tuple(evaluation.attributes() for evaluation in known))
