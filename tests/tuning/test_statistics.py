"""Quantiles and rates of few, late, censored, sampled or grouped values, and what their intervals promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstword.tuning.statistics import (
    Interval,
    log_mixture,
    quantile,
    quantile_difference,
    quantile_interval,
    rate,
    rate_difference,
    rate_interval,
    sample,
    share_evidence,
)

LOOKS = (5, 10, 20, 40, 80, 160, 320, 640)


def test_quantiles_are_order_statistics_and_errors_are_infinitely_late() -> None:
    """p90 of ten sessions is the ninth; with two errors among ten it is never reached, the median is."""
    values = [float(n) for n in range(1, 11)]
    assert [quantile(sample(values), p) for p in (0.5, 0.9, 0.99)] == [5.0, 9.0, 10.0]
    late = sample([*values[:8], math.inf, math.inf])
    assert [quantile(late, p) for p in (0.5, 0.8, 0.9)] == [5.0, 8.0, math.inf]


def test_a_caller_who_left_counts_as_waiting_until_then() -> None:
    """Kaplan and Meier by hand: of 1, 2+, 3, 4 (2+ left at 2) the share reached at 3 is 1 - 3/4 * 1/2 = 5/8."""
    seen = sample([1.0, 2.0, 3.0, 4.0], censored=[False, True, False, False])
    assert quantile(seen, 0.625) == 3.0
    assert quantile(seen, 0.626) == 4.0
    assert quantile(sample([1.0, 5.0], censored=[False, True]), 0.9) == math.inf


def test_dropping_who_left_would_flatter() -> None:
    """A variant whose slow half loses its callers after two seconds looks fast if they are dropped; here it does not."""
    waits = np.random.default_rng(1).uniform(1.0, 3.0, 2000)
    seen = sample(np.minimum(waits, 2.0).tolist(), censored=(waits > 2.0).tolist())
    assert quantile(sample(waits[waits <= 2.0].tolist()), 0.5) < 1.6
    assert quantile(seen, 0.45) == pytest.approx(1.9, abs=0.05)
    assert quantile_interval(seen, 0.6, 0.05).high > 2.0


def test_nothing_is_known_of_nothing() -> None:
    """An empty sample has no quantile and no rate, and the widest intervals."""
    nothing = sample([])
    assert math.isnan(quantile(nothing, 0.5))
    assert math.isnan(rate(nothing))
    assert quantile_interval(nothing, 0.5, 0.05) == Interval(0.0, math.inf)
    assert rate_interval(nothing, 0.05) == Interval(0.0, 1.0)
    assert quantile_difference(nothing, nothing, 0.5, 0.05) == Interval(-math.inf, math.inf)


def test_all_the_same_and_all_never() -> None:
    """A hundred equal values pin their quantile; where no session spoke, the median is surely never."""
    assert quantile_interval(sample([1.5] * 100), 0.5, 0.05) == Interval(1.5, 1.5)
    assert quantile_interval(sample([math.inf] * 100), 0.5, 0.05) == Interval(math.inf, math.inf)
    assert quantile_difference(sample([1.5] * 100), sample([math.inf] * 100), 0.5, 0.05).low == math.inf
    assert 0.0 in quantile_difference(sample([math.inf] * 100), sample([math.inf] * 100), 0.5, 0.05)


@given(
    st.lists(st.tuples(st.floats(0, 100) | st.just(math.inf), st.booleans()), max_size=40),
    st.sampled_from([0.5, 0.9, 0.99]),
)
def test_an_interval_holds_the_quantile_seen(values: list[tuple[float, bool]], p: float) -> None:
    """Whatever was seen, censored or not: the estimate lies in its interval, and a difference in its."""
    seen = sample([value for value, _ in values], censored=[late and value < math.inf for value, late in values])
    estimate, interval = quantile(seen, p), quantile_interval(seen, p, 0.05)
    assert not values or estimate in interval
    both = quantile_difference(seen, seen, p, 0.05)
    assert both.low <= 0 <= both.high


def test_the_evidence_is_a_martingale() -> None:
    """Over all ways that ten sessions can fall, with their probabilities, its mean is 1, at every length and p."""
    for p in (0.5, 0.9, 0.99):
        for length in (1, 2, 10):
            counts = np.arange(length + 1.0)
            ways = np.array([math.comb(length, k) for k in range(length + 1)])
            chances = ways * p**counts * (1 - p) ** (length - counts)
            assert chances @ np.exp(log_mixture(counts, length, p)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_intervals_hold_at_all_looks_together(p: float) -> None:
    """Of 400 streams looked at eight times, at most 5 % ever miss the quantile; at a level of 20 %, at most 20 %."""
    truth, misses = -math.log(1 - p), {0.05: 0, 0.2: 0}
    for seed in range(400):
        stream = np.random.default_rng(seed).exponential(size=LOOKS[-1]).tolist()
        looks = [sample(stream[:length]) for length in LOOKS]
        for error in misses:
            misses[error] += any(truth not in quantile_interval(look, p, error) for look in looks)
    assert misses[0.05] <= 0.05 * 400
    assert misses[0.2] <= 0.2 * 400


def test_rates_hold_at_all_looks_together() -> None:
    """Rare errors: of 300 streams looked at eight times, at most 5 % ever miss the rate or the difference of two."""
    misses = np.zeros(2)
    for seed in range(300):
        a, b = (np.random.default_rng(seed).random((2, LOOKS[-1])) < [[0.02], [0.10]]).astype(float).tolist()
        looks = [(sample(a[:length]), sample(b[:length])) for length in LOOKS]
        misses += [
            any(0.02 not in rate_interval(one, 0.05) for one, _ in looks),
            any(0.08 not in rate_difference(one, other, 0.05) for one, other in looks),
        ]
    assert (misses <= 0.05 * 300).all()


def test_a_sampled_store_is_weighted() -> None:
    """Where slow starts are all kept and of the others one in five, the plain median is far off and the weighted is not;
    its interval still holds at all looks, and is wider than that of all sessions."""
    misses, wider = 0, 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        ttfw = random.exponential(size=2000)
        slow = ttfw > 1.5
        kept = slow | (random.random(2000) < 0.2)
        values, weights = ttfw[kept], np.where(slow[kept], 1.0, 5.0)
        looks = [sample(values[:n].tolist(), weights=weights[:n].tolist(), heaviest=5.0) for n in (20, 50, 200, 500)]
        misses += any(math.log(2) not in quantile_interval(look, 0.5, 0.05) for look in looks)
        whole, part = quantile_interval(sample(ttfw.tolist()), 0.5, 0.05), quantile_interval(looks[-1], 0.5, 0.05)
        wider += part.high - part.low > whole.high - whole.low
        if seed == 0:
            assert quantile(sample(values.tolist()), 0.5) > 1.3
            assert quantile(looks[-1], 0.5) == pytest.approx(math.log(2), abs=0.12)
    assert misses <= 0.05 * 200
    assert wider == 200


def test_sessions_of_one_process_count_once() -> None:
    """Ten processes a side, each with a speed of its own, and no effect: taken one by one their sessions deceive in more
    than a fifth of the experiments; grouped, looked at whenever each process has one more, in at most 5 %."""
    alone, grouped = 0, 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        speeds = random.normal(size=(2, 10, 1))
        ttfw = np.exp(0.3 * speeds + 0.1 * random.normal(size=(2, 10, 40)))
        surprised = np.zeros(2, dtype=bool)
        for length in (1, 2, 5, 10, 20, 40):
            sides = [
                (ttfw[side, :, :length].ravel().tolist(), np.repeat(np.arange(10), length).tolist()) for side in (0, 1)
            ]
            plain = [sample(values) for values, _ in sides]
            by_process = [sample(values, groups=groups) for values, groups in sides]
            surprised |= [0.0 not in quantile_difference(pair[0], pair[1], 0.5, 0.05) for pair in (plain, by_process)]
        alone, grouped = alone + surprised[0], grouped + surprised[1]
    assert alone > 0.2 * 200
    assert grouped <= 0.05 * 200


def test_a_split_that_is_not_as_asked_for_is_noticed() -> None:
    """Looked at after each session: half and half raises no alarm, 60 to 40 does before a thousand sessions."""
    random = np.random.default_rng(5)
    alarms = np.zeros(2)
    for _ in range(100):
        even, uneven = (random.random((2, 1000)) < [[0.5], [0.6]]).astype(float)
        alarms += [
            any(share_evidence(sample(d[:n].tolist()), 0.5) >= 1000 for n in (*LOOKS, 1000)) for d in (even, uneven)
        ]
    assert alarms[0] == 0
    assert alarms[1] >= 90
