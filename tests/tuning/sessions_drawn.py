"""Sessions drawn at random: what the tests of comparing, deciding and checking look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from firstword.telemetry.record import Outcome
from firstword.tuning.observation import Observation

SPREAD = 0.3
"""Of the logarithm of the time to first word: about the coefficient of variation."""


@dataclass(frozen=True)
class World:
    """What a session is like."""

    factor: float = 1.0
    """On the time to first word."""
    errors: float = 0.01
    leaving: float = 0.02


def draw(random: np.random.Generator, variants: Mapping[str, str], world: World, time: float = 0.0) -> Observation:
    """One session: lognormal with a median of 1.2 s, some fail, some callers leave half-way."""
    ttfw, chance = 1.2 * math.exp(SPREAD * random.standard_normal()) * world.factor, random.random()
    if chance < world.errors:
        return Observation(Outcome.FAILED, math.inf, None, time, variants)
    if chance < world.errors + world.leaving:
        return Observation(Outcome.ABANDONED, ttfw / 2, None, time, variants)
    return Observation(Outcome.FIRST_WORD, ttfw, ttfw + 0.5, time, variants, {"account": ttfw / 3, "voice": 0.1})


def experiment(
    seed: int, sessions: int, on: World, off: World = World(), flag: str = "f", share: float = 0.5
) -> list[Observation]:
    """Sessions of which each has the flag with probability `share`, ten seconds apart."""
    random = np.random.default_rng(seed)
    found: list[Observation] = []
    for number in range(sessions):
        variant = "on" if random.random() < share else "off"
        found.append(draw(random, {flag: variant}, on if variant == "on" else off, 1e9 + 10.0 * number))
    return found


Worlds: TypeAlias = Callable[[dict[str, bool]], World]
"""What a session is like, by which flags it has on."""
