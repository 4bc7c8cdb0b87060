"""Verdicts on variants: how often a false one is given, how many sessions a true one takes, and what is refused."""

import dataclasses
import math

import numpy as np
import pytest

from firstword.telemetry.record import Outcome
from firstword.tuning.compare import ERROR, NotComparable, Verdict, compare, sentence
from firstword.tuning.observation import DrawnBy, Observation
from firstword.tuning.sampling import Sampling
from firstword.tuning.statistics import Floats, log_mixture
from tests.tuning.sessions_drawn import World, draw, experiment

EXPERIMENTS, SESSIONS = 1000, 1000
LIMIT = -math.log(ERROR / 4)
"""What must speak against `no difference` in one of the four looks of a verdict."""
JUDGED = {Verdict.FASTER, Verdict.SLOWER, Verdict.FAILS_MORE, Verdict.MIXED}


def peeked_at(seed: int) -> tuple[int, list[list[Observation]]]:
    """In how many of 1,000 A/A experiments any look after any of 1,000 sessions is against `no difference`, counted so
    that it can't be too few; and the sessions of those.

    `compare` takes the candidate that evidence speaks least against, of all there are; here only some are tried, for
    rates the very best one, so whatever `compare` rejects is rejected here too.
    """
    random = np.random.default_rng(seed)
    shape = (EXPERIMENTS, SESSIONS)
    on, rank, chance = random.random(shape) < 0.5, random.random(shape), random.random(shape)
    failed, left = chance < 0.02, (chance >= 0.02) & (chance < 0.05)
    seen = np.where(failed, 2.0, np.where(left, rank / 2, rank))
    crossed = np.zeros(EXPERIMENTS, dtype=bool)
    sides = [on, ~on]
    lengths = [np.cumsum(side, axis=1) for side in sides]
    for p, tried in ((0.5, np.linspace(0.35, 0.68, 23)), (0.9, np.linspace(0.80, 0.99, 23))):
        table = tabulated(p)
        best = log_mixture(p * np.arange(SESSIONS + 1.0), np.arange(SESSIONS + 1.0), p)
        least = np.full(shape, np.inf, dtype=np.float32)
        for q in tried:
            against = np.zeros(shape, dtype=np.float32)
            for side, t in zip(sides, lengths, strict=True):
                possible = np.cumsum(side & (seen <= q), axis=1)
                known = np.cumsum(side & (seen <= q) & ~left, axis=1)
                against += np.where(
                    known > p * t, table[t, known], np.where(possible < p * t, table[t, possible], best[t])
                )
            np.minimum(least, against, out=least)
        crossed |= (least >= LIMIT).any(axis=1)
    for event in (failed, left):
        counts = [np.cumsum(side & event, axis=1) for side in sides]
        crossed |= (rates_against(counts, lengths) >= LIMIT).any(axis=1)
    return int(crossed.sum()), [
        [one(on[e, s], seen[e, s], failed[e, s], left[e, s]) for s in range(SESSIONS)]
        for e in range(0, EXPERIMENTS, 20)
    ]


def test_the_same_peeking_deceives_a_test_that_is_meant_for_one_look() -> None:
    """Which side is earlier than the common median, |z| > 1.96, looked at after every session: more than a quarter of 1,000 A/A experiments."""
    random = np.random.default_rng(11)
    shape = (EXPERIMENTS, SESSIONS)
    on, early = random.random(shape) < 0.5, random.random(shape) < 0.5
    lengths = [np.cumsum(side, axis=1)[:, 50:] for side in (on, ~on)]
    shares = [np.cumsum(side & early, axis=1)[:, 50:] / n for side, n in zip((on, ~on), lengths, strict=True)]
    z = (shares[0] - shares[1]) / np.sqrt(0.25 / lengths[0] + 0.25 / lengths[1])
    assert (np.abs(z) > 1.96).any(axis=1).sum() > 0.25 * EXPERIMENTS


def tabulated(p: float) -> Floats:
    """What speaks against p, by sessions and how many of them were in time."""
    t, s = np.meshgrid(np.arange(SESSIONS + 1.0), np.arange(SESSIONS + 1.0), indexing="ij")
    table = np.zeros_like(t)
    table[s <= t] = log_mixture(s[s <= t], t[s <= t], p)
    return table


def rates_against(counts: list[np.ndarray], lengths: list[np.ndarray]) -> Floats:
    """Of Beta(1/2, 1/2) mixtures, at the common rate that is likeliest."""
    log_gamma = np.array([math.lgamma((k + 1) / 2) for k in range(2 * SESSIONS + 3)])  # of (k + 1) / 2
    s, t = counts[0] + counts[1], lengths[0] + lengths[1]
    share = np.clip(s / t, 1e-12, 1 - 1e-12)
    against = -s * np.log(share) - (t - s) * np.log1p(-share) - 2 * math.log(math.pi)
    for k, n in zip(counts, lengths, strict=True):
        against = against + log_gamma[2 * k] + log_gamma[2 * (n - k)] - log_gamma[2 * n + 1]
    return against


def one(on: bool, seen: float, failed: bool, left: bool) -> Observation:
    outcome = Outcome.FAILED if failed else Outcome.ABANDONED if left else Outcome.FIRST_WORD
    return Observation(outcome, math.inf if failed else float(seen), flags={"f": "on" if on else "off"})


def test_at_most_one_in_twenty_false_verdicts_however_often_one_looks() -> None:
    """1,000 A/A experiments of 1,000 sessions, looked at after every session: at most 50 ever get a verdict.

    Counted by a quicker form of the same test, which rejects whenever `compare` does; that is checked too, on fifty of
    the experiments at five lengths.
    """
    false, some = peeked_at(seed=11)
    assert false <= ERROR * EXPERIMENTS
    judged = sum(
        any(compare(sessions[:length], "f").verdict in JUDGED for length in (50, 100, 200, 500, 1000))
        for sessions in some
    )
    assert judged <= ERROR * len(some)


def test_the_quick_form_rejects_whenever_compare_does() -> None:
    """So its count of false verdicts can't be too low: where `compare` excludes 0 for a quantile, all candidates have
    enough spoken against them, and those that the quick form tries are among them."""
    excluded = 0
    for seed in range(40):
        sessions = experiment(seed, 200, World(0.8, errors=0, leaving=0), World(errors=0, leaving=0))
        sides = [np.array([o.ttfw for o in sessions if o.flags["f"] == side]) for side in ("on", "off")]
        for row, p in zip(compare(sessions, "f").ttfw[:2], (0.5, 0.9), strict=True):
            if 0.0 not in row.difference:
                excluded += 1
                in_time = [(side[:, None] <= np.concatenate(sides)).sum(axis=0) for side in sides]
                against = [log_mixture(k.astype(float), len(side), p) for k, side in zip(in_time, sides, strict=True)]
                assert (against[0] + against[1]).min() >= LIMIT
    assert excluded >= 5


@pytest.mark.parametrize(
    ("factor", "sessions", "verdict"),
    [(0.9, 2500, Verdict.FASTER), (1.1, 2500, Verdict.SLOWER), (0.5, 100, Verdict.FASTER)],
)
def test_power(factor: float, sessions: int, verdict: Verdict) -> None:
    """A tenth faster or slower is seen within 2,500 sessions of both variants in four of five experiments, half the time
    within 100. Times spread as a rehearsal's do (coefficient of variation 0.3)."""
    right = sum(compare(experiment(seed, sessions, World(factor)), "f").verdict is verdict for seed in range(40))
    assert right >= 32


def test_a_busy_hour_deceives_nobody() -> None:
    """Both variants slow down by half every day at noon: no verdict comes of it."""
    verdicts: list[Verdict] = []
    for seed in range(30):
        random = np.random.default_rng(seed)
        sessions = [
            draw(random, {"f": "on" if random.random() < 0.5 else "off"}, World(1.25 + 0.25 * math.sin(n / 100)))
            for n in range(1500)
        ]
        verdicts += [compare(sessions[:length], "f").verdict for length in (200, 600, 1500)]
    assert sum(verdict in JUDGED for verdict in verdicts) <= 0.05 * len(verdicts)


def test_faster_but_failing_is_worse() -> None:
    """A variant that is much faster and loses a fifth of its sessions is not recommended."""
    result = compare(experiment(1, 600, World(0.6, errors=0.2)), "f")
    assert result.verdict is Verdict.FAILS_MORE
    assert sentence(result).startswith("on is worse: ")
    assert "% errors against" in sentence(result)


def test_callers_who_leave_are_no_gain() -> None:
    """A variant whose callers leave is worse, though those who stay hear the word as soon."""
    result = compare(experiment(1, 600, World(leaving=0.25)), "f")
    assert result.verdict is Verdict.FAILS_MORE
    assert "callers who left" in sentence(result)


def test_the_sentence_says_by_how_much_and_how_sure() -> None:
    """Faster: the quantile, the difference, its range. The same: below what share. Undecided: how many more."""
    faster = compare(experiment(3, 1500, World(0.7)), "f")
    p90 = faster.ttfw[1]
    low, high = -p90.difference.high, -p90.difference.low
    assert sentence(faster) == f"on is faster: p90 {p90.before - p90.after:.2f} s earlier ({low:.2f} to {high:.2f})"
    undecided = compare(experiment(3, 60, World(0.9)), "f")
    assert undecided.verdict is Verdict.UNDECIDED
    assert sentence(undecided) == f"not enough sessions yet: about {undecided.more} more may tell"
    alike = [
        dataclasses.replace(o, ttfw=1.2 + 0.01 * (n % 7), outcome=Outcome.FIRST_WORD)
        for n, o in enumerate(experiment(3, 2000, World()))
    ]
    assert sentence(compare(alike, "f")) == "on makes no difference: less than 5 % of p50 and of p90"


def test_how_many_more_is_about_right() -> None:
    """For an effect it will find, the guess made early is right within a factor of five in most experiments."""
    good = 0
    for seed in range(20):
        sessions = experiment(seed, 3000, World(0.8))
        guessed = compare(sessions[:150], "f").more or 0
        needed = next(n for n in range(150, 3000, 50) if compare(sessions[:n], "f").verdict is Verdict.FASTER)
        good += needed / 5 <= 150 + guessed <= needed * 5
    assert good >= 15


def test_a_split_that_is_not_as_asked_for_gets_no_verdict() -> None:
    """Sessions of one variant are missing: whatever the figures say, they are not to be trusted."""
    result = compare(experiment(1, 2000, World(0.7), share=0.4), "f", share=0.5)
    assert result.verdict is Verdict.MISMATCH
    assert "find out which sessions are missing" in sentence(result)
    assert compare(experiment(1, 2000, World(0.7), share=0.4), "f", share=0.4).verdict is Verdict.FASTER


def test_flags_that_change_together_cannot_be_told_apart() -> None:
    """Two profiles side by side differ in all flags: the verdict is about all of them, and says so."""
    sessions = [dataclasses.replace(o, flags={**o.flags, "g": o.flags["f"]}) for o in experiment(1, 600, World(0.5))]
    result = compare(sessions, "f")
    assert result.together_with == ("g",)
    assert sentence(result).startswith("on, together with g, is faster")


def test_an_uneven_flag_is_held_fixed() -> None:
    """A useless flag that is mostly on where a good one is on looks good; among sessions alike in that, it does not."""
    random = np.random.default_rng(1)
    sessions: list[Observation] = []
    for _ in range(3000):
        good = random.random() < 0.5
        on = random.random() < (0.8 if good else 0.2)
        flags = {"good": "on" if good else "off", "useless": "on" if on else "off"}
        sessions.append(draw(random, flags, World(0.6 if good else 1.0)))
    result = compare(sessions, "useless")
    assert result.among == {"good": "on"} or result.among == {"good": "off"}
    assert result.verdict not in JUDGED
    assert compare(sessions, "good").verdict is Verdict.FASTER


def test_a_flag_drawn_by_process_is_compared_by_process() -> None:
    """Where each process has one variant for all its sessions, processes count; one job a process makes it moot."""
    sessions = [
        dataclasses.replace(o, process=f"{o.flags['f']}-{n % 4}") for n, o in enumerate(experiment(1, 400, World(0.5)))
    ]
    result = compare(sessions, "f", share=0.5)
    assert (result.drawn, dict(result.units)) == (DrawnBy.PROCESS, {"off": 4, "on": 4})
    assert result.verdict is Verdict.UNDECIDED
    assert result.split is None
    alone = compare([dataclasses.replace(o, process=str(n)) for n, o in enumerate(sessions)], "f")
    assert (alone.drawn, alone.verdict) == (DrawnBy.SESSION, Verdict.FASTER)
    by_account = compare([dataclasses.replace(o, process=None, account=o.process) for o in sessions], "f")
    assert by_account.drawn is DrawnBy.ACCOUNT


def test_a_tail_sampled_store_is_weighted() -> None:
    """Slow starts and those without a first word are all there, of the others a tenth: shares come out as they were."""
    random = np.random.default_rng(1)
    whole = experiment(1, 20_000, World(0.8))
    always = [o.outcome is not Outcome.FIRST_WORD or o.ttfw > 1.5 for o in whole]
    told = [dataclasses.replace(o, sampling=Sampling(10.0, kept)) for o, kept in zip(whole, always, strict=True)]
    kept = [o for o in told if o.sampling.always_kept or random.random() < 0.1]
    result = compare(kept, "f", share=0.5)
    assert result.sampled == 10
    assert result.errors.before == pytest.approx(0.01, abs=0.006)
    assert result.abandoned.before == pytest.approx(0.02, abs=0.006)
    assert result.ttfw[0].before == pytest.approx(1.22, abs=0.04)
    assert result.ttfw[0].after == pytest.approx(0.97, abs=0.04)
    assert result.verdict is Verdict.FASTER


@pytest.mark.parametrize(
    ("sessions", "flag", "says"),
    [
        ([], "f", "no session to compare"),
        (experiment(1, 5, World()), "g", "no session has a flag 'g'; there is: f"),
        ([Observation(Outcome.FIRST_WORD, 1.0)], "f", "no session has a flag 'f'; none has any"),
        (experiment(1, 5, World(), share=0), "f", "all 5 sessions have f off"),
        (
            [Observation(Outcome.FIRST_WORD, 1.0, flags={"f": v, "g": v}) for v in "abc"],
            "f",
            "f has 3 variants (a, b, c); two can be compared",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(sessions: list[Observation], flag: str, says: str) -> None:
    """The message says what there is."""
    with pytest.raises(NotComparable) as refused:
        compare(sessions, flag)
    assert str(refused.value) == says


def test_one_session_each_all_failed() -> None:
    """Nothing is known, and nothing breaks."""
    failed = [Observation(Outcome.FAILED, math.inf, flags={"f": v}) for v in ("on", "off")]
    result = compare(failed, "f")
    assert result.verdict is Verdict.UNDECIDED
    assert result.ttfw[0].before == math.inf
    assert sentence(result).startswith("not enough sessions yet")


def _drawn(by: DrawnBy | None, of: list[Observation], by_process: str = "") -> list[Observation]:
    return [dataclasses.replace(o, drawn_by=by, by_process=by_process) for o in of]


def test_what_a_flag_was_drawn_by_is_taken_from_the_trace() -> None:
    """Not guessed: here every account has one session, so that nothing could be guessed; each then counts once."""
    sessions = experiment(1, 300, World(factor=0.5))
    named = [dataclasses.replace(o, account=f"{i:016x}") for i, o in enumerate(sessions)]
    for by, drawn in ((DrawnBy.ACCOUNT, DrawnBy.ACCOUNT), (DrawnBy.SESSION, DrawnBy.SESSION), (None, DrawnBy.SESSION)):
        found = compare(_drawn(by, named), "f")
        assert (found.drawn, found.unnamed, found.verdict) == (drawn, 0, Verdict.FASTER)
    assert compare(_drawn(DrawnBy.ACCOUNT, named, by_process="e,f"), "f").drawn is DrawnBy.PROCESS


def test_sessions_of_accounts_that_cannot_be_told_apart_have_no_verdict() -> None:
    """Two accounts that called 150 times each would otherwise be 300 independent sessions."""
    sessions = experiment(1, 300, World(factor=0.5))
    found = compare(_drawn(DrawnBy.ACCOUNT, sessions), "f")
    assert (found.verdict, found.unnamed, found.more) == (Verdict.DEPENDENT, 300, None)
    assert "FIRSTWORD_ACCOUNT_KEY" in sentence(found)
    # room and process tell themselves
    assert compare(_drawn(DrawnBy.SESSION, sessions), "f").verdict is Verdict.FASTER
    assert compare(_drawn(DrawnBy.ACCOUNT, sessions, by_process="f"), "f").verdict is Verdict.FASTER
