"""How many sessions `firstword compare` takes for a verdict, and how often it is wrong: the figures of docs/tuning.md.

    python -m benchmarks.compare_power

Seeded. Times to first word are lognormal with a median of 1.2 s; 1 % of the sessions fail, 2 % of the callers leave.
Half of the sessions have the flag. The verdict is looked at again whenever there are 10 % more sessions.
"""

from __future__ import annotations

import math

import numpy as np

from firstword.telemetry.record import Outcome
from firstword.tuning.compare import Verdict, compare
from firstword.tuning.observation import Observation

EXPERIMENTS, MOST, GROWTH = 20, 10_000, 1.1


def main() -> None:
    """Print the table."""
    print("sessions of both variants until `faster`, in half and in nine of ten experiments; never within", MOST)
    print(f"{'spread':>7} {'effect':>7} {'half':>7} {'9 of 10':>8} {'never':>6} {'wrong':>6}")
    for spread in (0.2, 0.3, 0.5):
        for effect in (0.1, 0.2, 0.4):
            found = [until(seed, effect, spread) for seed in range(EXPERIMENTS)]
            taken = sorted(length for length, _ in found)
            wrong = sum(verdict in (Verdict.SLOWER, Verdict.FAILS_MORE, Verdict.MIXED) for _, verdict in found)
            half, most = taken[EXPERIMENTS // 2], taken[EXPERIMENTS * 9 // 10]
            never = sum(math.isinf(length) for length in taken)
            print(f"{spread:7.1f} {effect:7.0%} {half:7.0f} {most:8.0f} {never:6d} {wrong:6d}")


def until(seed: int, effect: float, spread: float) -> tuple[float, Verdict]:
    """After how many sessions there is a verdict, and which."""
    random = np.random.default_rng(seed)
    sessions = [session(random, effect, spread) for _ in range(MOST)]
    length = 20
    while length <= MOST:
        verdict = compare(sessions[:length], "flag").verdict
        if verdict not in (Verdict.UNDECIDED, Verdict.SAME):
            return length, verdict
        length = max(length + 1, round(length * GROWTH))
    return math.inf, Verdict.UNDECIDED


def session(random: np.random.Generator, effect: float, spread: float) -> Observation:
    """One session."""
    on, chance = random.random() < 0.5, random.random()
    ttfw = 1.2 * math.exp(spread * random.standard_normal()) * (1 - effect if on else 1)
    flags = {"flag": "on" if on else "off"}
    if chance < 0.01:
        return Observation(Outcome.FAILED, math.inf, flags=flags)
    if chance < 0.03:
        return Observation(Outcome.ABANDONED, ttfw / 2, flags=flags)
    return Observation(Outcome.FIRST_WORD, ttfw, flags=flags)


if __name__ == "__main__":
    main()
