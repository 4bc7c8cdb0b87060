"""The cells of `benchmarks.improvements`, which flags are on in each, and the tables that follow from their sessions.

Pure functions over what was measured: sessions in, Markdown out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations, product

import numpy as np
import psutil
from numpy.typing import NDArray

from firstword.agent.flags.improvements import PROFILES, Improvement
from firstword.rehearsal.rehearse import versions
from firstword.rehearsal.result import Quantiles
from firstword.rehearsal.workers import FLOOR
from firstword.telemetry.record import Dispatch

Floats = NDArray[np.float64]
Key = tuple[str, str]
"""Dispatch and profile."""

A, B, C, D, E, F, G, H, J, K = (
    Improvement.PARALLEL_INIT,
    Improvement.ACCOUNT_CACHE,
    Improvement.COMPONENT_POOL,
    Improvement.SMART_GREETING,
    Improvement.LIGHT_CONNECT,
    Improvement.LAZY_ROOM_OPTIONS,
    Improvement.CACHED_CONFIG,
    Improvement.ASSISTANT_PREWARM,
    Improvement.DEFERRED_SETUP,
    Improvement.DEFERRED_METRICS,
)
GENERATORS: Mapping[Improvement, tuple[Improvement, ...]] = {
    F: (A, B, C, D),
    G: (A, B, C, E),
    H: (A, B, D, E),
    J: (A, C, D, E),
    K: (B, C, D, E),
}
"""The design 2^(10-5) of resolution IV: no main effect is mixed with a pair, pairs are with pairs (Box, Hunter 1961).

The letters are dealt so that the pair that was built to work together, D and E, is mixed with two small ones, F and G.
"""

TASKS: Mapping[Improvement, tuple[str, ...]] = {
    Improvement.PARALLEL_INIT: ("account", "config", "components", "assistant", "room_options"),
    Improvement.LAZY_ROOM_OPTIONS: ("room_options",),
    Improvement.CACHED_CONFIG: ("config",),
    Improvement.DEFERRED_SETUP: ("event_handlers", "background_audio", "resumption", "analytics"),
    Improvement.ACCOUNT_CACHE: ("account",),
    Improvement.COMPONENT_POOL: ("components",),
    Improvement.ASSISTANT_PREWARM: ("assistant", "session"),
    Improvement.SMART_GREETING: ("greeting", "playout"),
    Improvement.LIGHT_CONNECT: ("room", "track", "voice", "caller", "participant"),
    Improvement.DEFERRED_METRICS: ("metrics",),
}
"""The tasks a flag is about: their share of the critical path is shown without and with it."""

EXPECTED: Mapping[Improvement, str] = {
    Improvement.PARALLEL_INIT: "500 to 1500",
    Improvement.LAZY_ROOM_OPTIONS: "minor",
    Improvement.CACHED_CONFIG: "minor",
    Improvement.DEFERRED_SETUP: "100 to 300",
    Improvement.ACCOUNT_CACHE: "100 to 500",
    Improvement.COMPONENT_POOL: "300 to 800",
    Improvement.ASSISTANT_PREWARM: "200 to 500",
    Improvement.SMART_GREETING: "significant",
    Improvement.LIGHT_CONNECT: "100 to 300",
    Improvement.DEFERRED_METRICS: "minor",
}
"""Milliseconds, as the brief has it."""

ALONE = ("alone: added", "alone: taken")
"""Families of cells."""
FACTORIAL_DISPATCH = (Dispatch.JOIN.value, Dispatch.AHEAD.value)
LETTERS: Mapping[Improvement, str] = dict(zip((A, B, C, D, E, F, G, H, J, K), "ABCDEFGHJK", strict=True))
"""As the design's literature names its factors; in the tables for want of room."""

RESAMPLED = 2000
"""Bootstrap replicates."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One set of flags under one dispatch, and how many sessions it shall have."""

    name: str
    profile: str
    dispatch: str
    sessions: int
    family: str
    """Cells that are compared with each other."""

    @property
    def key(self) -> Key:
        """By what its sessions are found."""
        return self.dispatch, self.profile


@dataclass(frozen=True, slots=True)
class Lived:
    """One session that took place; seconds, None where it is not known."""

    profile: str
    dispatch: str
    block: str
    heard_s: float | None
    """None when the caller heard nothing."""
    ttfw_s: float | None = None
    init_s: float | None = None
    path: Mapping[str, float] | None = None
    """Task -> seconds on the critical path."""
    cpu_s: float | None = None
    """Of all the worker's processes until they are at rest again: the warm-up of the replacement is part of it."""
    memory_mb: float | None = None
    """What the job's process alone held when its caller hung up (USS)."""


def profile_of(on: Iterable[Improvement]) -> str:
    """The profile's name: `baseline`, `tuned`, or the flags with commas."""
    flags = frozenset(on)
    named = [name for name, of in PROFILES.items() if of == flags]
    return named[0] if named else ",".join(flag for flag in Improvement if flag in flags)


def factorial() -> list[frozenset[Improvement]]:
    """The flags that are on in each of the 32 runs."""
    runs: list[frozenset[Improvement]] = []
    for levels in product((False, True), repeat=5):
        level: dict[Improvement, bool] = dict(zip((A, B, C, D, E), levels, strict=True))
        level |= {flag: sum(not level[base] for base in bases) % 2 == 0 for flag, bases in GENERATORS.items()}
        runs.append(frozenset(flag for flag, on in level.items() if on))
    return runs


def cells(parts: Sequence[str], sessions: int | None) -> list[Cell]:
    """All cells of the parts; one that both have, once."""
    every = frozenset(Improvement)
    made: dict[Key, Cell] = {}
    if "alone" in parts:
        added = {"baseline": frozenset[Improvement]()} | {f"baseline+{flag}": frozenset({flag}) for flag in Improvement}
        taken = {"tuned": every} | {f"tuned-{flag}": every - {flag} for flag in Improvement}
        for family, sets in zip(ALONE, (added, taken), strict=True):
            for name, on in sets.items():
                cell = Cell(name, profile_of(on), Dispatch.JOIN.value, sessions or 30, family)
                made[cell.key] = cell
    if "factorial" in parts:
        for dispatch in FACTORIAL_DISPATCH:
            for number, on in enumerate(factorial(), 1):
                cell = Cell(
                    f"run-{number:02d}-{dispatch}", profile_of(on), dispatch, sessions or 10, f"factorial: {dispatch}"
                )
                made.setdefault(cell.key, cell)
    return list(made.values())


class Medians:
    """The median of each cell in ms after the floor of the same block, with its bootstrap replicates.

    Sessions are drawn again within their block, the floor's too: how far two cells differ holds the floor's own noise.
    """

    def __init__(self, sessions: Sequence[Lived]) -> None:
        chance = np.random.default_rng(1)
        grouped: dict[Key, dict[str, list[float]]] = {}
        for session in sessions:
            heard = math.inf if session.heard_s is None else session.heard_s * 1000
            grouped.setdefault((session.dispatch, session.profile), {}).setdefault(session.block, []).append(heard)
        floor: dict[str, float] = {}
        floor_again: dict[str, Floats] = {}
        for (_, profile), blocks in grouped.items():
            if profile == FLOOR:
                floor |= {block: float(np.median(values)) for block, values in blocks.items()}
                floor_again |= {block: np.median(_again(values, chance), axis=1) for block, values in blocks.items()}
        self.of: dict[Key, float] = {}
        self.again: dict[Key, Floats] = {}
        for key, blocks in grouped.items():
            shifted = [value - floor[block] for block, values in blocks.items() for value in values]
            replicates = [_again(values, chance) - floor_again[block][:, None] for block, values in blocks.items()]
            self.of[key] = float(np.median(shifted))
            self.again[key] = np.median(np.concatenate(replicates, axis=1), axis=1)

    def contrast(self, plus: Sequence[Key], minus: Sequence[Key], times: float = 1.0) -> str:
        """Mean of some cells less that of others, `times` so much, ms with 95 % interval.

        A dash where a cell is missing or never heard.
        """
        if not all(math.isfinite(self.of.get(key, math.nan)) for key in (*plus, *minus)):
            return "-"
        value = times * (np.mean([self.of[key] for key in plus]) - np.mean([self.of[key] for key in minus]))
        with np.errstate(invalid="ignore"):  # never less never
            again = np.mean([self.again[k] for k in plus], axis=0) - np.mean([self.again[k] for k in minus], axis=0)
        low, high = np.quantile(times * again, (0.025, 0.975))
        return f"{value:+.0f} ({low:+.0f} to {high:+.0f})"


def _again(values: Sequence[float], chance: np.random.Generator) -> Floats:
    return chance.choice(np.asarray(values, dtype=np.float64), size=(RESAMPLED, len(values)))


def alias_groups() -> list[tuple[list[tuple[Improvement, Improvement]], list[int]]]:
    """The pairs that the design can't tell apart, and the sign of their product in each run."""
    runs = factorial()
    groups: dict[tuple[int, ...], list[tuple[Improvement, Improvement]]] = {}
    for a, b in combinations(Improvement, 2):
        signs = tuple(1 if (a in on) == (b in on) else -1 for on in runs)
        groups.setdefault(signs, []).append((a, b))
    return [(pairs, list(signs)) for signs, pairs in groups.items()]


def tables(sessions: Sequence[Lived], wanted: Sequence[Cell]) -> str:
    """All tables of what there is, as Markdown."""
    found = Medians(sessions)
    by_key: dict[Key, list[Lived]] = {}
    for session in sessions:
        by_key.setdefault((session.dispatch, session.profile), []).append(session)
    return "\n".join(
        [*_heading(), *_cells_table(by_key, wanted), *_alone_table(by_key, found), *_factorial(by_key, found)]
    )


def _heading() -> Iterator[str]:
    machine = f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"
    used_versions = ", ".join(f"{name} {version}" for name, version in versions().items())
    yield f"`python -m benchmarks.improvements`, {datetime.now(UTC):%Y-%m-%d}, {machine}. {used_versions}."
    yield "Intervals: 95 %, bootstrap over sessions within their blocks. Positive is earlier. A dash: not measured.\n"


def _cells_table(by_key: Mapping[Key, Sequence[Lived]], wanted: Sequence[Cell]) -> Iterator[str]:
    """Each set of flags that is compared with `baseline` or `tuned`, beside the floor of its blocks."""
    yield "| cell | sessions | unheard | heard p50, s | p90, s | x floor p50 | p90 | CPU, s a session | job's memory, MB |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    floors = [Cell(f"floor-{dispatch}", FLOOR, dispatch, 0, "") for dispatch in Dispatch]
    for cell in (*floors, *(cell for cell in wanted if cell.family in ALONE)):
        if of := by_key.get(cell.key):
            blocks = {session.block for session in of}
            beside = [s for s in by_key.get((cell.dispatch, FLOOR), ()) if s.block in blocks]
            heard, floor = quantiles(of), quantiles(beside)
            unheard = sum(session.heard_s is None for session in of)
            ratios = f"{heard.p50 / floor.p50:.2f} | {heard.p90 / floor.p90:.2f}"
            cpu = _median([session.cpu_s for session in of], 2)
            held = _median([session.memory_mb for session in of], 0)
            seconds = f"{heard.p50:.3f} | {heard.p90:.3f}"
            yield f"| {cell.name} | {len(of)} | {unheard} | {seconds} | {ratios} | {cpu} | {held} |"
    yield ""


def _alone_table(by_key: Mapping[Key, Sequence[Lived]], found: Medians) -> Iterator[str]:
    join, every = Dispatch.JOIN.value, frozenset(Improvement)
    baseline, tuned = (join, "baseline"), (join, "tuned")
    yield "| flag | brief, ms | added to baseline saves, ms | its path share | taken from tuned costs, ms | its path share |"
    yield "|---|---|---:|---:|---:|---:|"
    for flag in Improvement:
        added, taken = (join, profile_of({flag})), (join, profile_of(every - {flag}))
        saves, costs = found.contrast([baseline], [added]), found.contrast([taken], [tuned])
        shares = [_share(by_key.get(key, ()), TASKS[flag]) for key in (baseline, added, taken, tuned)]
        pairs = f"{shares[0]} to {shares[1]}", f"{shares[2]} to {shares[3]}"
        yield f"| `{flag}` | {EXPECTED[flag]} | {saves} | {pairs[0]} | {costs} | {pairs[1]} |"
    yield "\nPath share: of the flag's own tasks, mean over sessions, without the flag and with it.\n"


def _factorial(by_key: Mapping[Key, Sequence[Lived]], found: Medians) -> Iterator[str]:
    """Main effects, what each pair saves together beyond each alone, and the runs that both follow from.

    With T(a, b) the mean time of the runs where the first flag of a pair is a and the second b (1: on), that is
    [T(0,0) - T(1,1)] - [T(0,0) - T(1,0)] - [T(0,0) - T(0,1)] = T(1,0) + T(0,1) - T(0,0) - T(1,1).
    Of the 32 runs 8 are in each T, so the mean of the runs where the two differ is [T(1,0) + T(0,1)] / 2, that of those
    where they are the same [T(0,0) + T(1,1)] / 2: twice the difference of these means is what is asked. It holds half of
    itself in the main effect of either flag, which is an average over the other flag off and on.
    """
    runs = factorial()
    keys = [[(dispatch, profile_of(on)) for on in runs] for dispatch in FACTORIAL_DISPATCH]
    columns = " | ".join(f"`{dispatch}`" for dispatch in FACTORIAL_DISPATCH)
    yield f"\n| | saves on average over all others, ms: {columns} |\n|---|---|---:|---:|"
    for flag, letter in LETTERS.items():
        saves = [
            found.contrast(
                [key for key, on in zip(of, runs, strict=True) if flag not in on],
                [key for key, on in zip(of, runs, strict=True) if flag in on],
            )
            for of in keys
        ]
        yield f"| {letter} | `{flag}` | {' | '.join(saves)} |"
    yield f"\n| pairs that the design can't tell apart | save together beyond each alone, ms: {columns} |\n|---|---:|---:|"
    for pairs, signs in alias_groups():
        saves = [
            found.contrast(
                [key for key, sign in zip(of, signs, strict=True) if sign < 0],
                [key for key, sign in zip(of, signs, strict=True) if sign > 0],
                times=2,
            )
            for of in keys
        ]
        yield f"| {', '.join(f'{LETTERS[a]} with {LETTERS[b]}' for a, b in pairs)} | {' | '.join(saves)} |"
    yield f"\n| flags on | sessions, unheard, heard p50 in s: {columns} |\n|---|---|---|"
    for on, *of in zip(runs, *keys, strict=True):
        lived = [by_key.get(key, ()) for key in of]
        cells = [
            f"{len(s)}, {sum(each.heard_s is None for each in s)}, {quantiles(s).p50:.3f}" if s else "-" for s in lived
        ]
        yield f"| {' '.join(LETTERS[flag] for flag in LETTERS if flag in on)} | {' | '.join(cells)} |"


def quantiles(sessions: Sequence[Lived]) -> Quantiles:
    """When the callers heard the agent, seconds; NaN of nobody."""
    found = Quantiles.of([math.inf if session.heard_s is None else session.heard_s for session in sessions])
    return found or Quantiles(math.nan, math.nan, math.nan, math.nan)


def _median(values: Iterable[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{np.median(known):.{digits}f}" if known else "-"


def _share(sessions: Iterable[Lived], tasks: Sequence[str]) -> str:
    paths = [session.path for session in sessions if session.path]
    shares = [sum(path.get(task, 0.0) for task in tasks) / math.fsum(path.values()) for path in paths]
    return f"{np.mean(shares):.0%}" if shares else "-"
