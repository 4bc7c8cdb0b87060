"""Weeks of the tuner on virtual time: sessions drawn by the flags as they lie in the store, a look every so many of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from firstword.command.observed import Observed
from firstword.command.tuner.flag_store import FlagStore
from firstword.command.tuner.instruments import TunerInstruments
from firstword.command.tuner.service import TunerLook, TunerService
from firstword.tuning.observation import Observation
from firstword.tuning.sources import SourceError
from tests.tuning.sessions_drawn import World, Worlds, draw

BEGIN = 1_795_000_000.0
BETWEEN_S = 10.0
Traced: TypeAlias = Callable[[Observation], Observation | None]
"""What becomes of a session on its way to the source; None: it is lost."""


@dataclass
class Days:
    """A fleet whose sessions draw what the store says, the source that has their traces, and a tuner."""

    store: FlagStore
    worlds: Worlds = lambda on: World()
    apply: bool = True
    traced: Traced = lambda session: session
    now: float = BEGIN
    away: str = ""
    """Why the source can't be read; empty where it can."""
    problems: int = 0
    capped: int | None = None
    seen: list[Observation] = field(default_factory=list[Observation])
    looks: list[TunerLook] = field(default_factory=list[TunerLook])
    name: str = "drawn sessions"

    def __post_init__(self) -> None:
        self.random, self.chance = np.random.default_rng(1), random.Random(1)
        self.reader = InMemoryMetricReader()
        self.instruments = TunerInstruments(MeterProvider([self.reader]).get_meter("tuner"))
        self.service = self.another()

    def another(self) -> TunerService:
        """A tuner that starts now."""
        return TunerService(self.store, self, self.instruments, self.apply, clock=lambda: self.now)

    def starts(self, since: float, *, whole: bool = True) -> Observed:
        """What the source has since then."""
        if self.away:
            raise SourceError(self.away)
        found = [session for session in self.seen if session.time >= since]
        return Observed(found, len(found), self.problems, 0, self.capped)

    def predicted(self, told: Mapping[str, str]) -> Mapping[str, float]:
        """Nobody says anything of the flags of these tests."""
        return {}

    def sessions(self, count: int) -> None:
        """So many callers come, each drawn anew by the shares of now."""
        shares = self.shares()
        for _ in range(count):
            self.now += BETWEEN_S
            on = {flag: self.chance.random() * 100 < percent for flag, percent in shares.items()}
            variants = {flag: "on" if is_on else "off" for flag, is_on in on.items()}
            session = self.traced(draw(self.random, variants, self.worlds(on), self.now))
            if session is not None:
                self.seen.append(session)

    def look(self) -> TunerLook:
        """The tuner looks once. Why it holds is one line, always."""
        self.looks.append(look := self.service.look())
        assert look.held is None or look.held.words == " ".join(look.held.words.split())
        return look

    def week(self, looks: int, between: int = 250) -> None:
        """Sessions, then a look, and again."""
        for _ in range(looks):
            self.sessions(between)
            self.look()

    def prove(self) -> None:
        """The trial, which each tuner that may ramp has passed."""
        self.sessions(60)
        self.look()
        self.week(2)

    def shares(self) -> dict[str, int]:
        """Flag -> percent, as the store has it now."""
        return {name: flag.percent or 0 for name, flag in self.store.read().file.flags.items()}

    def moves(self) -> list[tuple[str, int]]:
        """Of all flags, in order: which went to which share."""
        return [(move.flag, move.percent) for look in self.looks for move in look.written]

    def held(self) -> str | None:
        """Why the last look held."""
        doubt = self.looks[-1].held
        return None if doubt is None else doubt.holding.value

    def metric(self, name: str) -> dict[tuple[object, ...], float]:
        """Values of the attributes in order of their names -> value of a metric."""
        found: dict[tuple[object, ...], float] = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points if metric.name == name else ():
                        attributes = point.attributes or {}
                        found[tuple(attributes[key] for key in sorted(attributes))] = getattr(point, "value", 0.0)
        return found
