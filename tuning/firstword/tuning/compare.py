"""Two variants of a flag side by side, with a verdict in words that holds however often one looks.

After `firstword.tuning.observation`; `firstword.tuning.rollout` decides by it, `firstword compare` prints it. The verdict takes four looks
at the sessions: p50 and p90 of the time to first word, errors, and callers who left. Each has a quarter of `ERROR`. So a false verdict, at
any look, has probability `ERROR` at most. All other intervals are for information.

What is assumed: that the sessions of a variant are drawn alike while they are compared. A change that meets both variants (a busy hour)
does no harm. A share that changed during it would, so a rollout compares within one step only.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from firstword.tuning import observation as about
from firstword.tuning.observation import DrawnBy, Observation
from firstword.tuning.statistics import (
    Interval,
    Sample,
    quantile,
    quantile_difference,
    rate,
    rate_difference,
    share_evidence,
)
from firstword.tuning.wording import agree, amount

ERROR = 0.05
"""Probability of a false verdict at any look."""
QUANTILES = (0.5, 0.9, 0.99)
NOTICED = 0.1
"""Share of the time to first word that a caller would notice. `Comparison.more` says how many sessions it takes to be sure of that."""
SAME = 0.05
"""If p50 and p90 surely differ by less than this share, the verdict is `same`."""

_LOOKS = 4
_DECIDING = (0.5, 0.9)
_MISMATCH = 1000.0
_GROWTH, _STEPS = 1.25, 32


class Verdict(StrEnum):
    """What the comparison says of the second variant against the first, such as `faster`, `slower` or `undecided`."""

    FASTER = "faster"
    SLOWER = "slower"
    FAILS_MORE = "fails more"
    MIXED = "mixed"
    """Faster by p50, slower by p90, or the other way."""
    SAME = "same"
    UNDECIDED = "undecided"
    DEPENDENT = "dependent"
    """Sessions were drawn by account, and nobody can tell which are of the same."""
    MISMATCH = "mismatch"
    """The sessions are not split as they were meant to be: something loses sessions of one variant."""


class NotComparable(Exception):
    """Raised where there are no two variants to compare; the message says what there is."""


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One figure of both variants and the interval of its difference; in seconds, or as shares of the sessions."""

    name: str
    before: float
    """The baseline variant's figure; infinite: never, NaN: unknown."""
    after: float
    difference: Interval
    """Interval of `after` minus `before`."""

    def gains_less_than(self, share: float) -> bool:
        """Returns whether the figure surely fell by no more than that share of `before`."""
        return math.isfinite(self.before) and -self.difference.low <= share * self.before

    def loses_less_than(self, share: float) -> bool:
        """Returns whether the figure surely rose by no more than that share of `before`."""
        return math.isfinite(self.before) and self.difference.high <= share * self.before


@dataclass(frozen=True, slots=True)
class Split:
    """How the sessions are split over the two variants, and whether that is the share that was asked for."""

    share: float
    """Share of the second variant that was asked for, 0 to 1."""
    seen: float
    """Share of the second variant among the sessions, 0 to 1."""
    evidence: float
    """Evidence that the split is not what was asked for. Without a fault it passes x with probability 1/x at most, at any look."""

    @property
    def mismatch(self) -> bool:
        """Returns whether the sessions are surely not split as asked for. A false alarm has a chance of one in a thousand."""
        return self.evidence >= _MISMATCH


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a flag's variant `after` (`on`) with `before` (`off`): figures of both, their differences, and the verdict."""

    flag: str
    before: str
    after: str
    sessions: Mapping[str, int]
    """Variant -> number of sessions."""
    units: Mapping[str, int]
    """Variant -> number of independent units: sessions, or the processes or accounts they were drawn by."""
    drawn: DrawnBy
    unnamed: int
    """Sessions that were drawn by account and don't say by which: each was counted as independent."""
    ttfw: tuple[ComparisonRow, ...]
    init: tuple[ComparisonRow, ...]
    errors: ComparisonRow
    abandoned: ComparisonRow
    split: Split | None
    among: Mapping[str, str]
    """Flag -> variant: only sessions with these variants were compared, because other flags were spread unevenly."""
    together_with: tuple[str, ...]
    """Flags that changed together with this one, so that nobody can tell them apart."""
    sampled: float
    """Percent of ordinary starts that the store keeps, the least that a session says."""
    verdict: Verdict
    more: int | None
    """About how many more sessions, of both variants, a verdict would take; None where it is there or out of reach."""


def compare(observations: Sequence[Observation], flag: str, *, share: float | None = None) -> Comparison:
    """Compares the sessions by their variant of `flag`. The baseline is `off`, or the first variant by name.

    share: of the second variant's sessions, as asked for (0 to 1); None: not known, and the split isn't checked.
    Raises NotComparable.
    """
    before, after = _variants(observations, flag)
    together, among = _confounding(observations, flag, before, after)
    chosen = [o for o in observations if all(o.flags.get(name) == variant for name, variant in among.items())]
    drawn = about.drawn_by(chosen, flag)
    a, b = ([o for o in chosen if o.flags.get(flag) == variant] for variant in (before, after))
    ttfw = about.ttfw(a, drawn), about.ttfw(b, drawn)
    init = about.init(a, drawn), about.init(b, drawn)
    rows = _quantiles(*ttfw)
    errors = _rates("errors", about.share(a, about.failed, drawn), about.share(b, about.failed, drawn))
    abandoned = _rates("abandoned", about.share(a, about.left, drawn), about.share(b, about.left, drawn))
    split = None if share is None else _split(chosen, flag, after, share, drawn)
    unnamed = sum(about.unnamed(o, flag) for o in (*a, *b))
    verdict = Verdict.DEPENDENT if unnamed else _verdict(rows, errors, abandoned, split)
    return Comparison(
        flag=flag,
        before=before,
        after=after,
        sessions={before: len(a), after: len(b)},
        units={before: round(ttfw[0].units), after: round(ttfw[1].units)},
        drawn=drawn,
        unnamed=unnamed,
        ttfw=rows,
        init=_quantiles(*init),
        errors=errors,
        abandoned=abandoned,
        split=split,
        among=among,
        together_with=together,
        sampled=min(o.sampling.percent for o in chosen),
        verdict=verdict,
        more=_more(*ttfw, len(a) + len(b)) if verdict is Verdict.UNDECIDED else None,
    )


def sentence(found: Comparison) -> str:
    """Returns the verdict of a comparison as a sentence for people."""
    who = f"{found.after}, together with {', '.join(found.together_with)}," if found.together_with else found.after
    match found.verdict:
        case Verdict.DEPENDENT:
            return (
                f"no verdict: {amount(found.unnamed, 'session')} {agree(found.unnamed, 'was', 'were')} drawn by account and "
                f"{agree(found.unnamed, 'does', 'do')}n't say by which, so nobody can tell "
                "which depend on each other; set FIRSTWORD_ACCOUNT_KEY where the worker runs"
            )
        case Verdict.MISMATCH:
            assert found.split is not None  # noqa: S101 # the verdict says so
            return (
                f"no verdict: {100 * found.split.seen:.1f} % of the sessions have {found.after}, {100 * found.split.share:g} % "
                "should; find out which sessions are missing before trusting any figure"
            )
        case Verdict.FAILS_MORE:
            return f"{who} is worse: {_rates_in_words(found)}"
        case Verdict.FASTER | Verdict.SLOWER:
            return f"{who} is {found.verdict.value}: {gain(found)}"
        case Verdict.MIXED:
            return f"{who} is both: {', '.join(in_words(row) for row in found.ttfw[: len(_DECIDING)])}"
        case Verdict.SAME:
            return f"{who} makes no difference: less than {100 * SAME:.0f} % of p50 and of p90"
        case Verdict.UNDECIDED:
            more = "many more are needed" if found.more is None else f"about {found.more} more may tell"
            return f"not enough sessions yet: {more}"


def gain(found: Comparison) -> str:
    """Returns the difference in words: of p90 where that is surely earlier or later, else of p50."""
    sure = [row for row in (found.ttfw[1], found.ttfw[0]) if 0.0 not in row.difference]
    return in_words((sure or [found.ttfw[0]])[0])


def in_words(row: ComparisonRow) -> str:
    """Returns the difference of a quantile of the time to first word, as `p90 0.31 s earlier (0.12 to 0.47)`."""
    by = row.after - row.before
    low, high = row.difference.low, row.difference.high
    if not math.isfinite(by):
        return f"{row.name} {seconds(row.before)} before, {seconds(row.after)} after"
    earlier = by < 0 or (by == 0 and -low > high)
    near, far = (-high, -low) if earlier else (low, high)
    return f"{row.name} {abs(by):.2f} s {'earlier' if earlier else 'later'} ({_bound(near)} to {_bound(far)})"


def seconds(value: float) -> str:
    """Returns a time as it is printed: `1.23 s`, `never` where it is infinite, `unknown` for NaN."""
    return "unknown" if math.isnan(value) else f"{value:.2f} s" if math.isfinite(value) else "never"


def _bound(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "no limit"


def _rates_in_words(found: Comparison) -> str:
    worse = [
        f"{100 * row.after:.1f} % {what} against {100 * row.before:.1f} %"
        for row, what in ((found.errors, "errors"), (found.abandoned, "callers who left"))
        if row.difference.low > 0
    ]
    return ", ".join(worse)


def flags_of(observations: Sequence[Observation]) -> dict[str, Counter[str]]:
    """Counts sessions by flag and variant. Returns flag -> variant -> number of sessions."""
    found: dict[str, Counter[str]] = {}
    for o in observations:
        for name, variant in o.flags.items():
            found.setdefault(name, Counter())[variant] += 1
    return found


def _variants(observations: Sequence[Observation], flag: str) -> tuple[str, str]:
    known = flags_of(observations)
    if not observations:
        raise NotComparable("no session to compare")
    if flag not in known:
        near = get_close_matches(flag, known, n=3) or sorted(known)
        there = f"there is: {', '.join(near)}" if known else "none has any"
        raise NotComparable(f"no session has a flag {flag!r}; {there}")
    seen = known[flag]
    if len(seen) == 1:
        both = [name for name, variants in known.items() if len(variants) == 2]
        other = f"; both variants there are of: {', '.join(sorted(both))}" if both else ""
        sessions = sum(seen.values())
        who = agree(sessions, "the only session has", f"all {sessions:,} sessions have")
        raise NotComparable(f"{who} {flag} {next(iter(seen))}{other}")
    if len(seen) > 2:
        raise NotComparable(f"{flag} has {len(seen)} variants ({', '.join(sorted(seen))}); two can be compared")
    before, after = sorted(seen, key=lambda name: (name != "off", name))
    return before, after


def _confounding(
    observations: Sequence[Observation], flag: str, before: str, after: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Flags that are spread unevenly over the two variants. First those inseparable from this one. Then, where there are sessions in which
    they are alike, which variants those have (of several, the ones with most sessions)."""
    a, b = ([o for o in observations if o.flags.get(flag) == variant] for variant in (before, after))
    uneven: list[str] = []
    for other, variants in sorted(flags_of([*a, *b]).items()):
        if other != flag and len(variants) > 1:
            one = max(variants)
            shares = [about.share(side, lambda o, n=other, v=one: o.flags.get(n) == v) for side in (a, b)]
            if 0.0 not in rate_difference(shares[0], shares[1], 1 / _MISMATCH):
                uneven.append(other)
    if not uneven:
        return (), {}
    strata = [Counter(tuple(o.flags.get(name, "") for name in uneven) for o in side) for side in (a, b)]
    shared = {key: min(strata[0][key], strata[1][key]) for key in strata[0] if key in strata[1]}
    if not shared:
        return tuple(uneven), {}
    best = max(shared, key=lambda key: (shared[key], key))
    return (), dict(zip(uneven, best, strict=True))


def _quantiles(a: Sample, b: Sample) -> tuple[ComparisonRow, ...]:
    return tuple(
        ComparisonRow(f"p{p * 100:.0f}", quantile(a, p), quantile(b, p), quantile_difference(a, b, p, ERROR / _LOOKS))
        for p in QUANTILES
    )


def _rates(name: str, a: Sample, b: Sample) -> ComparisonRow:
    return ComparisonRow(name, rate(a), rate(b), rate_difference(a, b, ERROR / _LOOKS))


def _split(observations: Sequence[Observation], flag: str, after: str, share: float, drawn: DrawnBy) -> Split | None:
    """Not of a flag drawn by process: processes outlive a change of the share, and have sessions as they come."""
    if drawn is DrawnBy.PROCESS:
        return None
    seen = about.share(observations, lambda o: o.flags.get(flag) == after, drawn)
    return Split(share, rate(seen), share_evidence(seen, share) if 0 < share < 1 else 0.0)


def _verdict(
    rows: tuple[ComparisonRow, ...], errors: ComparisonRow, abandoned: ComparisonRow, split: Split | None
) -> Verdict:
    deciding = rows[: len(_DECIDING)]
    faster = any(row.difference.high < 0 for row in deciding)
    slower = any(row.difference.low > 0 for row in deciding)
    if split is not None and split.mismatch:
        return Verdict.MISMATCH
    if errors.difference.low > 0 or abandoned.difference.low > 0:
        return Verdict.FAILS_MORE
    if faster or slower:
        return Verdict.MIXED if faster and slower else Verdict.FASTER if faster else Verdict.SLOWER
    if all(row.gains_less_than(SAME) and row.loses_less_than(SAME) for row in deciding):
        return Verdict.SAME
    return Verdict.UNDECIDED


def _more(a: Sample, b: Sample, sessions: int) -> int | None:
    """How many more that look like these: until p50 or p90 differ, or a difference one would notice is ruled out."""
    growth = [_GROWTH**step for step in range(1, _STEPS)]
    enough = bisect.bisect_left(growth, True, key=lambda factor: _decides(a.scaled(factor), b.scaled(factor)))
    if enough == len(growth):
        return None
    more = sessions * (growth[enough] - 1)
    step = 10 if more < 200 else 100
    return math.ceil(more / step) * step


def _decides(a: Sample, b: Sample) -> bool:
    for p in _DECIDING:
        sure, small = quantile_difference(a, b, p, ERROR / _LOOKS), NOTICED * quantile(a, p)
        if 0.0 not in sure or (math.isfinite(small) and -small < sure.low and sure.high < small):
            return True
    return False
